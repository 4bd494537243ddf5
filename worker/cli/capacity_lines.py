"""Formats how many replicas there is work for, for `status --capacity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.rate.capacity import PROCESS_RATE, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.app.fleet import Capacity

_UNKNOWN = "not yet known: no replica of this version has worked with this database"


def lines(found: Capacity, rate: str, paused: str) -> Iterator[str]:
    """Format what is wanted, from what it follows, and what binds.

    Args:
        found: The capacity.
        rate: The rate and its ceiling, in words.
        paused: Whether calls are paused, in words.
    """
    yield f"replicas  {found.wanted} wanted, {found.live} live"
    yield f"rate      {rate}"
    yield f"paused    {paused}"
    if found.waiting is None:
        yield f"binds     {_UNKNOWN}"
        return
    yield (
        f"demand    {found.demand:.4g}/s: {found.called:.4g}/s are called, "
        f"{found.waiting.live} buyers and {found.waiting.bulk} other tokens wait"
    )
    yield f"each      {found.each:.4g}/s a replica: {_each(found)}"
    yield f"binds     {sentence(found)}"


def _each(found: Capacity) -> str:
    slots = f"{found.concurrency} calls at once (WORKER_POOL__CONCURRENCY)"
    if not found.call_seconds:
        return f"{slots}, and no call of late to tell how long one takes"
    return f"{slots}, {found.call_seconds:.3g} s each"


def sentence(found: Capacity) -> str:
    """What keeps the live replicas from making more calls, and what would help."""
    some = "1 replica" if found.wanted == 1 else f"{found.wanted} replicas"
    match found.binds:
        case Limit.QUOTA:
            return (
                f"AWS's quota: {some} can make all {found.rate:.4g} calls a second that it "
                "allows, and more replicas make no buyer wait less"
            )
        case Limit.CEILING:
            return (
                f"the ceiling: {some} can make all {found.rate:.4g} calls a second that it "
                "allows; a higher one (`resolution-worker rate`) may help, more replicas do not"
            )
        case Limit.CONCURRENCY:
            return (
                f"WORKER_POOL__CONCURRENCY: set it to {found.concurrency_wanted}, or start "
                f"replicas up to {max(found.wanted, found.now or 1)}"
            )
        case Limit.PROCESS:
            return (
                f"the processes, which answer about {PROCESS_RATE:g} a second each: start "
                f"replicas up to {max(found.wanted, found.now or 1)}"
            )
    return f"nothing: {some} can make more calls than are asked for"
