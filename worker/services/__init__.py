"""Private PostgreSQL and RabbitMQ servers, for the demo, the tests and development.

They listen on the loopback interface alone, on free ports, beside any other server of this
machine, and leave no process and no file behind.
"""

from worker.services.broker import RabbitMQ, rabbitmq
from worker.services.errors import ServiceError, StartError
from worker.services.management import Management
from worker.services.postgresql import Postgres, postgres
from worker.services.server import Server
from worker.services.together import Services, services

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
