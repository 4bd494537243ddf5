"""A broker that drops all connections several times within seconds, as a rolling restart does."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from benchmarks.quota.figures import Figure
from harness.servers import BrokerServer, rabbitmq_home
from harness.waiting import eventually
from tests.neighbours.scenario import scenario
from tests.neighbours.watching import becomes
from tests.seeds import seeds
from worker.lab.servers import rabbitmq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.ground import Ground
    from harness.programs import Simulator, Worker
    from tests.neighbours.scenario import Scenario
    from worker.lab.servers import RabbitMQ

pytestmark = [pytest.mark.neighbours, pytest.mark.timeout(300)]

_RATE: Final = 50
_WAITING: Final = 500
_LEFT: Final = 300  # and no fewer when the last connection is lost: enough to see the pace
_BETWEEN: Final = 75  # calls that are made from one loss to the next
_PACE_SECONDS: Final = 2.0
_BACK_SECONDS: Final = 3.0
_WATCHED_SECONDS: Final = 15.0
_AGAIN_SECONDS: Final = 6.0
_SETTINGS: Final = {"WORKER_RATE__INITIAL": str(_RATE), "WORKER_RATE__CEILING": str(_RATE)}


@dataclass(frozen=True, slots=True)
class Series:
    """A broker of a series of RabbitMQ that may be hurt."""

    name: str
    server: RabbitMQ


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["3.10", "4.3"])
async def series(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Series]:
    """A broker of its own for each series."""
    home = rabbitmq_home(request.param)
    async with rabbitmq(tmp_path_factory.mktemp("series") / "node", home=home) as running:
        yield Series(request.param, running)


class Pace:
    """How many calls had been made, several times a second."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    async def watch(self, simulator: Simulator) -> None:
        """Sample until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            at = loop.time()
            self.seen.append((at, await simulator.calls()))
            await asyncio.sleep(at + 0.1 - loop.time())

    def back(self, since: float, rate: float) -> float:
        """Seconds until two began in which so many calls a second were made; infinite if never."""
        for at, calls in self.seen:
            ends = [then for when, then in self.seen if when >= at + _PACE_SECONDS][:1]
            if at >= since and ends and ends[0] - calls >= rate * _PACE_SECONDS:
                return at - since
        return math.inf


async def _lose_connections(on: Scenario, worker: Worker) -> float:
    """Close a replica's connections, and wait until it consumes again: when it did (loop time)."""
    call = on.stage.broker.management.call
    user = urlsplit(on.stage.worker_url).username or ""
    lost, begun = (len(worker.logged(event)) for event in ("broker_link_down", "consuming"))

    async def closed() -> bool:
        # One that has only just been opened is not yet among those that the broker closes.
        await asyncio.to_thread(call, "DELETE", "connections", "username", user)
        return await becomes(lambda: len(worker.logged("broker_link_down")) > lost, 1.0)

    await eventually(closed, "it has lost its connections")
    await eventually(lambda: len(worker.logged("consuming")) > begun, "it consumes again")
    return asyncio.get_running_loop().time()


async def _some_calls(simulator: Simulator) -> None:
    """Wait until a few more calls are made, and then a second."""
    before = await simulator.calls()

    async def made() -> bool:
        return await simulator.calls() > before + 2

    await becomes(made, _AGAIN_SECONDS)
    await asyncio.sleep(1.0)


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
@pytest.mark.parametrize("losses", [2, 3])
async def test_connections_are_lost_again(
    ground: Ground, series: Series, seed: int, losses: int
) -> None:
    """Losing all connections twice and more within seconds slows nothing down."""
    server = series.server
    hurt = replace(ground, broker=BrokerServer(server.amqp_url, server.management, server.log))
    name = f"{losses} lost connections, RabbitMQ {series.name}"
    async with (
        scenario(hurt, name, seed, "--latency", "100ms", settings=_SETTINGS) as on,
        AsyncExitStack() as stack,
    ):
        crowd = await stack.enter_async_context(on.caller("crowd"))
        await crowd.bring(_WAITING, 1000)
        worker = await on.run()
        first = _WAITING - _LEFT - _BETWEEN * (losses - 1) + on.chance.randrange(-20, 20)

        async def under_way() -> bool:
            return await on.simulator.calls() >= first

        await eventually(under_way, f"{first} calls are made")
        pace = Pace()
        watching = asyncio.create_task(pace.watch(on.simulator))
        stack.callback(watching.cancel)
        for _ in range(losses - 1):
            await _lose_connections(on, worker)
            await _some_calls(on.simulator)
        missing = _LEFT - (_WAITING - await on.simulator.calls())
        await crowd.bring(max(0, missing), 1000)
        again = await _lose_connections(on, worker)
        left = len(crowd.asked) - await on.simulator.calls()
        await asyncio.sleep(again + _BACK_SECONDS - asyncio.get_running_loop().time())
        await on.buyers.bring(3, 10)
        await becomes(lambda: math.isfinite(pace.back(again, 0.9 * _RATE)), _WATCHED_SECONDS)
        figures = await on.served()
        back = pace.back(again, 0.9 * _RATE)
        on.conclude(
            [
                *figures,
                Figure("waiting at the last loss", left),
                Figure("pace back after", back, "s", most=_BACK_SECONDS),
            ]
        )
