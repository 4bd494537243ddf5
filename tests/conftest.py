"""Fixtures that every floor of tests may use.

The servers are always private ones, whatever servers the environment names.
"""

from collections.abc import Iterator

import pytest

from tests.servers import Broker, BrokerServer, Database, PostgresServer, Servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Both servers, started side by side when the first test asks for one of them."""
    running = Servers()
    try:
        yield running
    finally:
        running.end()


@pytest.fixture(scope="session")
def postgres_server(servers: Servers) -> PostgresServer:
    """The session's PostgreSQL, ready."""
    return servers.postgres()


@pytest.fixture(scope="session")
def broker_server(servers: Servers) -> BrokerServer:
    """The session's RabbitMQ, ready."""
    return servers.rabbitmq()


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """An empty database of the test's own."""
    with postgres_server.database() as database:
        yield database


@pytest.fixture
def broker(broker_server: BrokerServer) -> Iterator[Broker]:
    """An empty virtual host of the test's own."""
    with broker_server.broker() as broker:
        yield broker
