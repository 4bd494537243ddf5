"""Credentials that expire under load, and come back."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from benchmarks.quota.figures import Figure
from benchmarks.quota.scenario import scenario, watched
from benchmarks.quota.steady import SEARCH_SECONDS
from benchmarks.quota.timeline import second_begins, until

if TYPE_CHECKING:
    from benchmarks.quota.scenario import Bench, Scenario

_EXPIRED: Final = {
    "code": "ExpiredTokenException",
    "status": 400,
    "message": "The security token included in the request is expired",
}
_EXPIRED_SECONDS: Final = 20
_FELT_BY_SECONDS: Final = 2
_AFTER_SECONDS: Final = 40
_POLL_SECONDS: Final = 0.1
# The backlog holds good tokens alone: anything but one successful call each is wrong.
_WRONG: Final = (
    "SELECT (SELECT count(*) FROM resolution.outcomes WHERE status <> 'resolved' OR attempts <> 1)"
    " + (SELECT count(*) FROM resolution.dead_letter)"
)


async def credentials(bench: Bench) -> tuple[list[Figure], list[str]]:
    """Quota 40/s, 4 replicas, whose credentials are expired for 20 s."""
    async with scenario(bench, 40, 40, backlog=100 * 40) as on:
        fleet = await on.fleet(4)
        async with watched(on, fleet):
            await on.span(SEARCH_SECONDS)
            onset = await second_begins()
            await on.simulator.order("PUT", "fault", _EXPIRED)
            print("  the credentials expire", flush=True)
            await until(onset + _EXPIRED_SECONDS)
            await on.simulator.order("DELETE", "fault")
            print("  they are valid again", flush=True)
            resumed = await _resumed(on)
            over = onset + _EXPIRED_SECONDS
            await until(over + _AFTER_SECONDS)
        timeline = await on.timeline()
        former = timeline.ok(range(onset - 10, onset)) / 10
        print("  from 5 s before the onset:")
        print(timeline.lines(range(onset - 5, over + _AFTER_SECONDS)))
        ((wrong,),) = await on.stage.schema.rows(_WRONG)
        faults = await on.check(fleet)
    quiet = range(onset + _FELT_BY_SECONDS, over)
    after = range(over, over + _AFTER_SECONDS)
    return [
        Figure("credentials expired: settled wrongly", wrong, most=0),
        Figure(
            "credentials expired: most calls in a second, from 2 s on",
            timeline.busiest(quiet),
            most=1,
        ),
        Figure("credentials expired: calls from 2 s on", timeline.calls(quiet)),
        Figure("from recovery to the first success", resumed, "s", most=5),
        Figure(
            "from recovery to 80 % of the former rate", timeline.reached(0.8 * former, after), "s"
        ),
        Figure("throttled after recovery", timeline.throttled_share(after), "%"),
    ], faults


async def _resumed(on: Scenario) -> float:
    """Seconds until a call succeeds; infinite if none does."""
    began = time.monotonic()
    before = (await on.simulator.order("GET", "stats"))["calls"]["ok"]
    while (waited := time.monotonic() - began) < _AFTER_SECONDS:
        if (await on.simulator.order("GET", "stats"))["calls"]["ok"] > before:
            return waited
        await asyncio.sleep(_POLL_SECONDS)
    return float("inf")
