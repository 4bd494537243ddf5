"""What a scenario plays on: servers, a simulator with a quota, a backlog and the workers."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.quota.fleet import SETTINGS, Fleet
from benchmarks.quota.supply import supplying
from benchmarks.quota.timeline import Timeline, second_begins, until
from harness.installation import Installation, simulating
from harness.schema import addresses
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import BACKLOG, topology
from worker.core.durations import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.quota.supply import Supply
    from harness.ground import Ground
    from harness.programs import Simulator

_SAMPLE_SECONDS: Final = 5.0
_SPARE: Final = 4000  # what the workers hold in hand, and then some


@dataclass(frozen=True, slots=True)
class Bench:
    """What all scenarios have in common.

    Attributes:
        ground: Servers.
        scale: By how much every duration is multiplied.
        latency: Of each call.
        low_burst: Of the quota of 2 a second.
        settings: Of each worker, beyond the usual ones.
    """

    ground: Ground
    scale: float = 1.0
    latency: str = "50ms"
    low_burst: float = 2.0
    settings: dict[str, str] = field(default_factory=dict)

    def seconds(self, seconds: float) -> int:
        """A duration of this run, at least 5 s."""
        return max(5, round(seconds * self.scale))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario's own."""

    bench: Bench
    stage: Installation
    supply: Supply

    @property
    def simulator(self) -> Simulator:
        """Who keeps the quota, and counts the calls."""
        return self.stage.simulator

    async def quota(self, rate: float) -> int:
        """Change the hidden quota as a second begins: which second."""
        second = await second_begins()
        await self.simulator.order("PUT", "quota", {"rate": rate, "burst": rate})
        print(f"  quota {rate:g}/s", flush=True)
        return second

    async def timeline(self) -> Timeline:
        """The calls so far."""
        return await Timeline.of(self.simulator)

    async def fleet(self, replicas: int) -> Fleet:
        """Start the workers."""
        began = time.monotonic()
        fleet = await Fleet.start(self.stage, replicas, self.bench.settings)
        print(f"  {replicas} workers are ready after {time.monotonic() - began:.0f} s", flush=True)
        return fleet

    async def span(self, seconds: float) -> range:
        """The next so many seconds, scaled and whole, once they have passed."""
        start = await second_begins()
        span = range(start, start + self.bench.seconds(seconds))
        await until(span.stop)
        return span

    async def check(self, fleet: Fleet) -> list[str]:
        """What makes the figures void."""
        left = await self.supply.waiting(BACKLOG)
        print(f"  {left} tokens are left in the backlog; {_load()}", flush=True)
        if complaints := fleet.complaints():
            said = ", ".join(f"{event} {count} times" for event, count in complaints.items())
            print(f"  logged as a warning or worse: {said}", flush=True)
        return fleet.faults() + ([] if left else ["the backlog ran dry"])


@asynccontextmanager
async def scenario(
    bench: Bench, rate: float, burst: float, backlog: float
) -> AsyncIterator[Scenario]:
    """A scenario until the block ends, with a backlog and no worker yet.

    Args:
        bench: What it stands on.
        rate: Hidden quota, calls a second.
        burst: Calls that it lets through at once.
        backlog: Tokens that will be used, at the most; there will be more.
    """
    print(f"  {_load()}", flush=True)
    ground = bench.ground
    options = ("--rate", f"{rate:g}", "--burst", f"{burst:g}", "--latency", bench.latency)
    with (
        simulating(ground.home, *options) as simulator,
        ground.broker.broker() as broker,
        ground.postgres.database(ground.template) as database,
    ):
        delays = SETTINGS["WORKER_RETRY__DELAYS"].split(",")
        await declare(broker.url, topology({text: parse(text).seconds for text in delays}))
        web, worker = map(broker.shipped, ("CALLER", "resolution_worker"))
        schema = addresses(database)
        stage = Installation(broker, schema, simulator, ground.keys, ground.home, web, worker)
        try:
            async with supplying(broker.url) as supply:
                await supply.fill(round(backlog * max(bench.scale, 0.2)) + _SPARE)
                yield Scenario(bench, stage, supply)
        finally:
            for program in stage.started:
                program.kill()


def _load() -> str:
    return "load average " + " ".join(f"{load:.1f}" for load in os.getloadavg())


@asynccontextmanager
async def watched(scenario: Scenario, fleet: Fleet) -> AsyncIterator[None]:
    """A line every few seconds about the rate and the calls, until the block ends."""
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(scenario, fleet))
        yield
        watching.cancel()


async def _watch(scenario: Scenario, fleet: Fleet) -> None:
    began = last = await second_begins()
    while True:
        await asyncio.sleep(_SAMPLE_SECONDS)
        readings, timeline = await fleet.read(), await scenario.timeline()
        span = range(last, int(time.time()))
        last = span.stop
        shared = max((one.shared for one in readings), default=float("nan"))
        local = " ".join(f"{one.local:.2f}" for one in readings)
        ok, throttled = (
            count / len(span) for count in (timeline.ok(span), timeline.throttled(span))
        )
        others = (timeline.calls(span)) / len(span) - ok - throttled
        held = sum(one.open for one in readings)
        print(
            f"  {last - began:4} s  shared {shared:.2f}/s  local {local}  ok {ok:.1f}/s"
            f"  throttled {throttled:.1f}/s"
            + (f"  others {others:.1f}/s" if others else "")
            + (f"  breaker open in {held}" if held else ""),
            flush=True,
        )
