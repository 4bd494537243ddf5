"""A standing backlog at a quota that does not change, and one that falls and rises again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.quota.figures import Figure, jain
from benchmarks.quota.fleet import calls
from benchmarks.quota.scenario import scenario, watched

if TYPE_CHECKING:
    from benchmarks.quota.scenario import Bench, Scenario

STANDING = "throttled, standing backlog at 40/s"
DROPPED = "throttled, first 10 s after the drop 40 to 10/s"
LOW = "throttled, from 20 s after the drop on"
SEARCH_SECONDS = 30
LOW_SECONDS = 60

_MEASURED_SECONDS = 120
_RISE_SECONDS = 45


async def many(bench: Bench) -> tuple[list[Figure], list[str]]:
    """Quota 40/s, 4 replicas."""
    async with scenario(bench, 40, 40, backlog=160 * 40) as on:
        used, throttled, fairness, faults = await _steady(on, 40, 4)
    return [
        Figure("successes of the quota of 40/s, 4 replicas", used, "%", least=95),
        Figure(STANDING, throttled, "%", most=1.5),
        Figure("Jain's index of the replicas' calls", fairness, least=0.97),
    ], faults


async def few(bench: Bench) -> tuple[list[Figure], list[str]]:
    """Quota 2/s, 8 replicas."""
    async with scenario(bench, 2, bench.low_burst, backlog=160 * 2) as on:
        used, throttled, fairness, faults = await _steady(on, 2, 8)
    return [
        Figure("successes of the quota of 2/s, 8 replicas", used, "%", least=90),
        Figure("throttled, standing backlog at 2/s", throttled, "%", most=1.5),
        Figure("Jain's index at 2/s", fairness),
    ], faults


async def _steady(
    on: Scenario, quota: float, replicas: int
) -> tuple[float, float, float, list[str]]:
    """Percent used, percent throttled, Jain's index, and what makes them void."""
    fleet = await on.fleet(replicas)
    async with watched(on, fleet):
        search = await on.span(SEARCH_SECONDS)
        before = await fleet.read()
        span = await on.span(_MEASURED_SECONDS)
        after = await fleet.read()
    timeline = await on.timeline()
    made = calls(before, after)
    print(f"  calls by replica: {' '.join(f'{one:.0f}' for one in made)}")
    print(f"  throttled in the search: {timeline.throttled_share(search):.1f} %")
    print(timeline.lines(span))
    used, throttled = timeline.used(span, quota), timeline.throttled_share(span)
    return used, throttled, jain(made), await on.check(fleet)


async def changing(bench: Bench) -> tuple[list[Figure], list[str]]:
    """Quota 40, then 10, then 40 again, 4 replicas."""
    async with scenario(bench, 40, 40, backlog=40 * 40 + 60 * 10 + 45 * 40) as on:
        fleet = await on.fleet(4)
        async with watched(on, fleet):
            await on.span(SEARCH_SECONDS)
            await on.span(10)
            dropped = await on.quota(10)
            low = range(dropped, (await on.span(LOW_SECONDS)).stop)
            risen = await on.quota(40)
            high = range(risen, (await on.span(_RISE_SECONDS)).stop)
        timeline = await on.timeline()
        print("  from 5 s before the drop:")
        print(timeline.lines(range(dropped - 5, high.stop)))
        low = range(low.start, risen)
        faults = await on.check(fleet)
    return [
        Figure(DROPPED, timeline.throttled_share(low[:10]), "%", most=30),
        Figure(LOW, timeline.throttled_share(low[20:]), "%", most=3),
        Figure(
            "successes of the quota from 20 s after the drop on", timeline.used(low[20:], 10), "%"
        ),
        Figure("from the rise to 85 % of 40/s", timeline.reached(34, high), "s", most=30),
    ], faults
