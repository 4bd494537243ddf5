"""The installation of acceptance tests: a test's own, or shared by all that only send messages."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

pytest.register_assert_rewrite("tests.acceptance.outcomes")

from harness.installation import (  # noqa: E402 - asserts are rewritten before imports
    DELAYS,
    Installation,
    bare_environment,
    product,
    simulating,
)
from harness.schema import prepare  # noqa: E402 - as above
from harness.web_tier import WebTier, web_tier  # noqa: E402 - as above
from worker.adapters.rabbitmq.declaration import declare  # noqa: E402 - as above
from worker.adapters.rabbitmq.topology import topology  # noqa: E402 - as above
from worker.core.durations import parse  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
    from pathlib import Path

    from harness.programs import Simulator, Worker
    from harness.schema import Schema
    from harness.servers import Broker, BrokerServer, Database, PostgresServer

T = TypeVar("T")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A sealing pair, as `keygen` prints it."""
    environment = bare_environment(tmp_path_factory.mktemp("keys"))
    lines = product("keygen", environment=environment).splitlines()
    return dict(line.split("=", 1) for line in lines)


def declare_topology(broker: Broker, delays: str = DELAYS) -> None:
    """Declare the topology as the user who may."""
    wanted = topology({text: parse(text).seconds for text in delays.split(",")})
    done(declare(broker.shipped("resolution_admin"), wanted))


def done(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, for a fixture whose test may have a loop of its own."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, work).result()


@contextmanager
def staged(
    broker: Broker, schema: Schema, simulator: Simulator, keys: Mapping[str, str], home: Path
) -> Iterator[Installation]:
    """A stage on these servers until the block ends."""
    web, worker = map(broker.shipped, ("CALLER", "resolution_worker"))
    stage = Installation(broker, schema, simulator, keys, home, web, worker)
    try:
        yield stage
    finally:
        stage.clear()


@pytest.fixture
def simulator(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """A simulator of the test's own; its options may be given as the fixture's parameter."""
    with simulating(tmp_path, *getattr(request, "param", ())) as running:
        yield running


@pytest.fixture
def stage(
    broker: Broker,
    database: Database,
    simulator: Simulator,
    keys: Mapping[str, str],
    tmp_path: Path,
) -> Iterator[Installation]:
    """A stage of the test's own, with topology and schema, and no worker yet."""
    declare_topology(broker)
    with staged(broker, done(prepare(database)), simulator, keys, tmp_path) as stage:
        yield stage


@pytest.fixture
async def web(stage: Installation) -> AsyncIterator[WebTier]:
    """A web tier on the test's own stage."""
    async with web_tier(stage) as told:
        yield told


@contextmanager
def new_stage(
    broker_server: BrokerServer,
    postgres_server: PostgresServer,
    keys: Mapping[str, str],
    home: Path,
) -> Iterator[Installation]:
    """A stage with a virtual host, a database and a simulator of its own, until the block ends."""
    with (
        broker_server.broker() as broker,
        postgres_server.database() as database,
        simulating(home) as simulator,
    ):
        declare_topology(broker)
        with staged(broker, done(prepare(database)), simulator, keys, home) as stage:
            yield stage


@pytest.fixture(scope="session")
def shared_stage(
    broker_server: BrokerServer,
    postgres_server: PostgresServer,
    keys: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """A stage for tests that only send messages, each with ids and tokens of its own."""
    with new_stage(
        broker_server, postgres_server, keys, tmp_path_factory.mktemp("shared")
    ) as stage:
        yield stage


@pytest.fixture(scope="session")
def shared_worker(shared_stage: Installation) -> Worker:
    """The one worker of the shared stage; a test must leave it as it was."""
    return shared_stage.start(WORKER_LOG__LEVEL="debug", WORKER_AWS__TIMEOUT="1500ms")


@pytest.fixture
async def shop(shared_stage: Installation, shared_worker: Worker) -> AsyncIterator[WebTier]:
    """A web tier on the shared stage, whose worker is ready."""
    await shared_worker.ready()
    async with web_tier(shared_stage) as told:
        yield told
