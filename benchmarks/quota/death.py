"""One of four replicas killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.quota.figures import Figure
from benchmarks.quota.scenario import scenario, watched
from benchmarks.quota.steady import SEARCH_SECONDS
from benchmarks.quota.timeline import second_begins, until

if TYPE_CHECKING:
    from benchmarks.quota.scenario import Bench

_BY_SECONDS = 5
_MEASURED_SECONDS = 10


async def death(bench: Bench) -> tuple[list[Figure], list[str]]:
    """Quota 40/s, 4 replicas, one of which gets SIGKILL."""
    async with scenario(bench, 40, 40, backlog=75 * 40) as on:
        fleet = await on.fleet(4)
        async with watched(on, fleet):
            await on.span(SEARCH_SECONDS)
            await on.span(10)
            killed = await second_begins()
            fleet.kill()
            print("  one is killed", flush=True)
            after = range(killed + _BY_SECONDS, killed + _BY_SECONDS + _MEASURED_SECONDS)
            await until(after.stop + 10)
        timeline = await on.timeline()
        print("  from 10 s before its death:")
        print(timeline.lines(range(killed - 10, after.stop + 10)))
        before = timeline.used(range(killed - 10, killed), 40)
        faults = await on.check(fleet)
    return [
        Figure("successes of the quota, 10 s before a replica's death", before, "%"),
        Figure("the same, 5 to 15 s after", timeline.used(after, 40), "%", least=95),
        Figure(
            "throttled, 0 to 15 s after", timeline.throttled_share(range(killed, after.stop)), "%"
        ),
    ], faults
