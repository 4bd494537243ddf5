"""Buyers who wait, beside hours of backlog."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from benchmarks.quota.figures import Figure, quantile, share
from benchmarks.quota.fleet import served
from benchmarks.quota.scenario import scenario, watched
from benchmarks.quota.steady import SEARCH_SECONDS

if TYPE_CHECKING:
    from benchmarks.quota.fleet import Fleet
    from benchmarks.quota.scenario import Bench, Scenario

_QUOTA = 40
_BACKLOG = 20_000
_CALM_SECONDS = 60
_RUSH_SECONDS = 90
_REPLY_SECONDS = 5


async def lanes(bench: Bench) -> tuple[list[Figure], list[str]]:
    """Fresh tokens at 5/s, then at twice the quota, beside 20,000 of backlog."""
    async with scenario(bench, _QUOTA, _QUOTA, backlog=_BACKLOG) as on:
        await on.supply.hear()
        fleet = await on.fleet(4)
        async with watched(on, fleet):
            await on.span(SEARCH_SECONDS)
            figures = await _calm(on)
            figures += await _rush(on, fleet)
        return figures, await on.check(fleet)


async def _calm(on: Scenario) -> list[Figure]:
    """Fewer buyers than the quota."""
    print("  fresh tokens at 5/s", flush=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(on.supply.stream(5, on.bench.seconds(_CALM_SECONDS)))
        span = await on.span(_CALM_SECONDS)
    await asyncio.sleep(_REPLY_SECONDS)
    # Who has no reply yet has waited longer than all others.
    waits = [on.supply.waits.get(one, math.inf) for one in on.supply.asked]
    timeline = await on.timeline()
    print(timeline.lines(span))
    return [
        Figure("fresh tokens at 5/s: wait, p50", quantile(waits, 0.5), "s"),
        Figure("fresh tokens at 5/s: wait, p95", quantile(waits, 0.95), "s"),
        Figure("fresh tokens at 5/s: wait, p99", quantile(waits, 0.99), "s", most=2),
        Figure(
            "fresh tokens at 5/s: successes of the quota",
            timeline.used(span, _QUOTA),
            "%",
            least=95,
        ),
        Figure("fresh tokens at 5/s: throttled", timeline.throttled_share(span), "%"),
    ]


async def _rush(on: Scenario, fleet: Fleet) -> list[Figure]:
    """Twice as many buyers as the quota lets through.

    A token that was demoted stands behind more backlog than is served in this time: whoever has
    a reply was served in the live lane.
    """
    print(f"  fresh tokens at {2 * _QUOTA}/s", flush=True)
    already = set(on.supply.asked)
    before = await fleet.read()
    async with asyncio.TaskGroup() as group:
        group.create_task(on.supply.stream(2 * _QUOTA, on.bench.seconds(_RUSH_SECONDS)))
        span = await on.span(_RUSH_SECONDS)
        after = await fleet.read()
    waits = [wait for one, wait in on.supply.waits.items() if one not in already]
    live, backlog = (served(before, after, lane) for lane in ("live", "backlog"))
    timeline = await on.timeline()
    print(f"  served: {live:.0f} live, {backlog:.0f} backlog; replies: {len(waits)}")
    print(timeline.lines(span))
    return [
        Figure("rush of 80/s: the backlog's share", share(backlog, live + backlog), "%", 17, 23),
        Figure(
            "rush of 80/s: wait of the live ones served, p50", quantile(waits, 0.5), "s", most=10
        ),
        Figure("rush of 80/s: wait of the live ones served, p95", quantile(waits, 0.95), "s"),
        Figure("rush of 80/s: successes of the quota", timeline.used(span, _QUOTA), "%"),
        Figure("rush of 80/s: throttled", timeline.throttled_share(span), "%"),
    ]
