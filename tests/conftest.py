"""Fixtures that every floor of tests may use.

The servers are always private ones, whatever servers the environment names.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.register_assert_rewrite("harness")

from harness import contract  # noqa: E402 - its asserts are rewritten
from harness.schema import Schema, addresses, prepare  # noqa: E402 - its asserts are rewritten
from harness.servers import (  # noqa: E402 - its asserts are rewritten first
    Broker,
    BrokerServer,
    Database,
    PostgresServer,
    Servers,
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `-m long` what is marked so, and of a `sampled(n)` test all but each nth case."""
    cases: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if mark := item.get_closest_marker("sampled"):
            is_own = any(each is mark for each in item.own_markers)  # else it is its class's
            name = item.nodeid.partition("[")[0] if is_own else item.nodeid.rpartition("::")[0]
            cases[f"{mark.args[0]} {name}"].append(item)
    for name, some in cases.items():
        # The same ones each time, in whatever order they are to run.
        for place, item in enumerate(sorted(some, key=lambda item: item.nodeid)):
            if place % int(name.partition(" ")[0]):
                item.add_marker("long")
    if "long" in (config.option.markexpr or ""):
        return
    if long := [item for item in items if item.get_closest_marker("long")]:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(autouse=True)
def kept_contract() -> Iterator[None]:
    """Every outcome that a test receives, by whatever way, keeps the schema in `docs/schemas`."""
    yield
    broken = contract.breaches.copy()
    contract.breaches.clear()
    assert broken == []


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


@pytest.fixture(scope="session")
def prepared(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a database that is prepared as for a worker, to be copied."""
    with postgres_server.database() as database, ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, prepare(database)).result()
        yield database.name


@pytest.fixture
def schema(postgres_server: PostgresServer, prepared: str) -> Iterator[Schema]:
    """A prepared database of the test's own, in a quarter of the time."""
    with postgres_server.database(prepared) as database:
        yield addresses(database)


@pytest.fixture
def broker(broker_server: BrokerServer) -> Iterator[Broker]:
    """An empty virtual host of the test's own."""
    with broker_server.broker() as broker:
        yield broker
