"""A queue that takes no more answers: somebody's replies, or somebody's events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks.quota.figures import Figure, share
from tests.neighbours.callers import observing
from tests.neighbours.scenario import scenario
from tests.neighbours.watching import becomes, busiest_minute, in_hand, readiness
from tests.seeds import seeds

if TYPE_CHECKING:
    from harness.ground import Ground
    from harness.servers import Broker

pytestmark = [pytest.mark.neighbours, pytest.mark.timeout(300)]

_FULL: Final[dict[str, Any]] = {"x-max-length": 10, "x-overflow": "reject-publish"}
_FAST: Final = {"WORKER_RATE__INITIAL": "1000"}  # these scenarios are not about the quota
_BUYERS_RATE: Final = 10
_LINES: Final = 19
# RabbitMQ counts what it has handed out every five seconds.
_COUNTED_SECONDS: Final = 5.5
_SETTLED_SECONDS: Final = 10.0


async def _left_in_hand(broker: Broker) -> int:
    """How many deliveries are not acked, ten seconds after now."""
    await asyncio.sleep(_COUNTED_SECONDS)

    async def nothing() -> bool:
        return await in_hand(broker) == 0

    gone = await becomes(nothing, _SETTLED_SECONDS, every=0.5)
    return 0 if gone else await in_hand(broker)


def _size(keys: int, *, thorough: bool) -> tuple[int, int]:
    """How many submissions the hostile caller makes, in how many seconds."""
    if not thorough:
        return 500, 12
    return (5000, 60) if keys == 1 else (600, 15)


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
@pytest.mark.parametrize(
    "keys", [pytest.param(1, marks=pytest.mark.neighbours_quick), 100], ids="keys={}".format
)
async def test_replies_that_a_queue_refuses(
    ground: Ground, seed: int, keys: int, *, thorough: bool
) -> None:
    """A caller whose queue takes no reply costs no other caller, no event and no readiness."""
    count, seconds = _size(keys, thorough=thorough)
    name = f"full reply queue, {keys} routing key{'s'[: keys - 1]}"
    async with (
        scenario(ground, name, seed, settings=_FAST) as on,
        on.caller("hostile", keys=keys, arguments=_FULL) as hostile,
        observing(on.stage.broker.url, "everything") as observer,
    ):
        worker = await on.run()
        await observer.listen()
        since = len(worker.err)
        async with readiness(worker) as seen:
            async with asyncio.TaskGroup() as group:
                group.create_task(on.buyers.bring(seconds * _BUYERS_RATE, _BUYERS_RATE))
                group.create_task(hostile.bring(count, count / seconds))
            left = await _left_in_hand(on.stage.broker)
        figures = await on.served()
        for caller in (on.buyers, hostile):
            await observer.has_all(caller, 5.0)
        taken = await hostile.held()
        dropped = await worker.metric("resolution_answers_dropped_total", kind="reply")
        told = sum(observer.heard.values())
        on.conclude(
            [
                *figures,
                Figure("submissions of the hostile", count),
                Figure("left in hand", left, most=0),
                Figure("ready", seen.ready, "%", least=100),
                Figure("log lines in a minute", busiest_minute(worker, since), most=_LINES),
                Figure("refused replies counted", share(dropped, count - taken), "%", 99, 101),
                Figure("events a submission", told / (count + len(on.buyers.asked)), most=1.05),
                Figure("events missing", sum(map(observer.missing, (on.buyers, hostile))), most=0),
            ]
        )


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
async def test_events_that_a_queue_refuses(ground: Ground, seed: int) -> None:
    """While one observer's queue takes no event nobody waits, and later it has them all."""
    seconds, most_in_hand, handful, catching_up = 30, 30, 20, 60.0
    async with (
        scenario(ground, "full event queue", seed, settings=_FAST) as on,
        observing(on.stage.broker.url, "full", _FULL) as full,
        observing(on.stage.broker.url, "healthy") as healthy,
    ):
        worker = await on.run()
        await healthy.listen()
        since = len(worker.err)
        held = [0]
        async with readiness(worker) as seen, asyncio.TaskGroup() as group:
            buyers = group.create_task(on.buyers.bring(seconds * _BUYERS_RATE, _BUYERS_RATE))

            async def over() -> bool:
                held.append(await in_hand(on.stage.broker))
                return buyers.done()

            await becomes(over, 2.0 * seconds, every=1.0)
            left = await _left_in_hand(on.stage.broker)
        lines = busiest_minute(worker, since)
        figures = await on.served()
        await full.listen()
        began = asyncio.get_running_loop().time()
        for observer in (full, healthy):
            await observer.has_all(on.buyers, catching_up)
        took = asyncio.get_running_loop().time() - began
        on.conclude(
            [
                *figures,
                Figure("most in hand", max(held), most=most_in_hand),
                Figure("left in hand", left, most=0),
                Figure("ready", seen.ready, "%", least=100),
                Figure("log lines in a minute", lines, most=_LINES),
                Figure("events missing where it was full", full.missing(on.buyers), most=0),
                Figure("events missing where it was not", healthy.missing(on.buyers), most=0),
                Figure("events twice where it was not", healthy.repeated(on.buyers), most=handful),
                Figure("all there after", took, "s"),
            ]
        )
