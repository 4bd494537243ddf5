"""Private PostgreSQL and RabbitMQ servers, for the demo, the tests and development.

They listen on the loopback interface alone, on free ports, beside any other server of this
machine, and leave no process and no file behind.
"""

from worker.lab.servers.broker import RabbitMQ, rabbitmq
from worker.lab.servers.errors import ServiceError, StartError
from worker.lab.servers.management import Management
from worker.lab.servers.postgresql import Postgres, postgres
from worker.lab.servers.server import Server
from worker.lab.servers.together import Services, services

__all__ = [
    "Management",
    "Postgres",
    "RabbitMQ",
    "Server",
    "ServiceError",
    "Services",
    "StartError",
    "postgres",
    "rabbitmq",
    "services",
]
