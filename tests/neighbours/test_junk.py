"""Strangers' tokens beside those of buyers, at a quota that both have to share."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

import pytest

from benchmarks.quota.figures import Figure, quantile
from tests.neighbours.callers import calling
from tests.neighbours.scenario import scenario
from tests.seeds import seeds

if TYPE_CHECKING:
    from harness.ground import Ground
    from harness.programs import Worker
    from tests.neighbours.callers import Caller
    from tests.neighbours.scenario import Scenario

pytestmark = [pytest.mark.neighbours, pytest.mark.timeout(300)]

_QUOTA: Final = ("--rate", "10", "--burst", "10", "--latency", "50ms")
_BUYERS_RATE: Final = 2.0
_SECONDS: Final = 60
_SEARCH_SECONDS: Final = 10


async def _judge(on: Scenario, worker: Worker, junk: Caller, *, least: float) -> None:
    """The buyers' figures; those of junk are nobody's business but the quota's."""
    await on.buyers.all_answered(20.0)
    waits = on.buyers.waits()
    in_time = 100 * sum(wait <= 5.0 for wait in waits) / len(waits)
    on.conclude(
        [
            Figure("buyers", len(waits)),
            Figure("within 5 s", in_time, "%", least=least),
            Figure("p50", quantile(waits, 0.5), "s"),
            Figure("p99", quantile(waits, 0.99), "s"),
            Figure("junk", len(junk.asked)),
            Figure("moved to the crowd", await _in_the_crowd(worker)),
        ]
    )


async def _in_the_crowd(worker: Worker) -> float:
    settled = await worker.metric("resolution_submissions_total", lane="crowd")
    waiting = await worker.metric("resolution_queue_messages", queue="resolution.crowd")
    return float(settled + waiting)


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
@pytest.mark.parametrize(
    ("sources", "least"),
    [(0, -math.inf), (1, 95.0), (1000, -math.inf)],
    ids=["none told", "one", "a thousand"],
)
async def test_a_stranger_with_a_script(
    ground: Ground, seed: int, sources: int, least: float
) -> None:
    """60 random strings a second from one source keep no buyer out at a quota of 10 a second."""
    chance = {0: None, 1: lambda _: "junk", 1000: lambda number: f"junk-{number % 1000}"}[sources]
    buyer = None if sources == 0 else lambda number: f"buyer-{number}"
    name = f"60 junk/s, {['no', 'one', 'a thousand'][min(sources, 2)]} source"
    async with (
        scenario(ground, name, seed, *_QUOTA) as on,
        calling(on.stage.web, "junk", on.chance) as junk,
    ):
        worker = await on.run()
        await on.buyers.bring(round(_SEARCH_SECONDS * _BUYERS_RATE), _BUYERS_RATE, source=buyer)
        async with asyncio.TaskGroup() as group:
            group.create_task(
                on.buyers.bring(round(_SECONDS * _BUYERS_RATE), _BUYERS_RATE, source=buyer)
            )
            group.create_task(junk.bring(60 * _SECONDS, 60, "unknown", source=chance))
        await _judge(on, worker, junk, least=least)


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
async def test_a_burst_of_junk(ground: Ground, seed: int) -> None:
    """2,000 random strings at once from one source make the others wait for no moment."""
    async with (
        scenario(ground, "a burst of 2,000 junk", seed, *_QUOTA) as on,
        calling(on.stage.web, "junk", on.chance) as junk,
    ):
        worker = await on.run()

        def buyer(number: int) -> str:
            return f"buyer-{number}"

        await on.buyers.bring(round(_SEARCH_SECONDS * _BUYERS_RATE), _BUYERS_RATE, source=buyer)
        async with asyncio.TaskGroup() as group:
            group.create_task(
                on.buyers.bring(round(_SECONDS * _BUYERS_RATE), _BUYERS_RATE, source=buyer)
            )
            group.create_task(junk.bring(2000, 1000, "unknown", source=lambda _: "junk"))
        await _judge(on, worker, junk, least=95)
