"""Servers that faults may befall, and the ground that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from harness.ground import Ground, migrated, sealing_pair
from harness.installation import simulating
from harness.servers import BrokerServer, PostgresServer
from worker.lab.servers import postgres, rabbitmq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from harness.programs import Simulator
    from worker.lab.servers import Postgres, RabbitMQ


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long faults to `-m faults`."""
    if "faults" in (config.option.markexpr or ""):
        return
    long = [
        item
        for item in items
        if item.get_closest_marker("faults") and not item.get_closest_marker("faults_quick")
    ]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]


@pytest.fixture(scope="session")
def faults_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory without credentials."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="session")
def faults_keys(faults_home: Path) -> Mapping[str, str]:
    """A sealing pair, as `keygen` prints it."""
    return sealing_pair(faults_home)


@pytest.fixture(scope="session")
def faults_simulator(faults_home: Path) -> Iterator[Simulator]:
    """One simulator for all: each system has tokens and a door to it of its own."""
    with simulating(faults_home) as running:
        yield running


@pytest.fixture(scope="session")
def ground(
    broker_server: BrokerServer,
    postgres_server: PostgresServer,
    faults_simulator: Simulator,
    faults_keys: Mapping[str, str],
    faults_home: Path,
) -> Iterator[Ground]:
    """The session's servers, which must not be hurt themselves."""
    with migrated(postgres_server) as template:
        yield Ground(
            broker_server, postgres_server, template, faults_simulator, faults_keys, faults_home
        )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def own_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RabbitMQ]:
    """A broker that may be frozen, killed and starved."""
    async with rabbitmq(tmp_path_factory.mktemp("rabbitmq") / "node") as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """A database server that may be frozen and killed."""
    async with postgres(tmp_path_factory.mktemp("postgresql") / "server") as running:
        yield running


@pytest.fixture(scope="session")
def broker_ground(own_rabbitmq: RabbitMQ, ground: Ground) -> Ground:
    """A ground whose broker may be hurt."""
    server = BrokerServer(own_rabbitmq.amqp_url, own_rabbitmq.management, own_rabbitmq.log)
    return Ground(
        server, ground.postgres, ground.template, ground.simulator, ground.keys, ground.home
    )


@pytest.fixture(scope="session")
def database_ground(own_postgres: Postgres, ground: Ground) -> Iterator[Ground]:
    """A ground whose database may be hurt."""
    server = PostgresServer(own_postgres.dsn, own_postgres.log)
    with migrated(server) as template:
        yield Ground(ground.broker, server, template, ground.simulator, ground.keys, ground.home)
