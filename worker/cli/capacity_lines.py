"""Formats how many replicas there is work for, for `status --capacity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.app.fleet import OUTDATED_SECONDS
from worker.cli.dead_letters.format_values import span
from worker.core.rate.capacity import PROCESS_RATE, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.app.fleet import Capacity

_NEVER = "not yet known: no replica of this version has worked with this database"
_NO_QUEUES = "not yet known: no replica has reached the broker, and looked at the queues"


def lines(found: Capacity, rate: str, paused: str) -> Iterator[str]:
    """Format what is wanted, from what it follows, and what binds.

    Args:
        found: The capacity.
        rate: The rate and its ceiling, in words.
        paused: Whether calls are paused, in words.
    """
    if found.wanted is None:
        yield f"replicas  {found.live} live; how many are wanted is not known"
    else:
        yield f"replicas  {found.wanted} wanted, {found.live} live"
    yield f"rate      {rate}"
    yield f"paused    {paused}"
    if found.waiting is None:
        yield f"binds     {_unknown(found)}"
        return
    yield f"demand    {found.demand:.4g}/s: {found.called:.4g}/s are called, {_waiting(found)}"
    yield f"each      {found.each:.4g}/s a replica: {_each(found)}"
    yield f"binds     {sentence(found)}"


def _unknown(found: Capacity) -> str:
    if found.reported_seconds is None:
        return _NEVER
    if found.reported_seconds > OUTDATED_SECONDS:
        return f"unknown: no replica has reported for {span(found.reported_seconds)}"
    return _NO_QUEUES


def _waiting(found: Capacity) -> str:
    assert found.waiting is not None
    assert found.queues_seconds is not None
    some = f"{found.waiting.live} buyers and {found.waiting.bulk} other tokens"
    if found.queues_seconds <= OUTDATED_SECONDS:
        return f"{some} wait"
    return f"{some} waited {span(found.queues_seconds)} ago, when a replica last reached the broker"


def _each(found: Capacity) -> str:
    slots = f"{found.concurrency} calls at once (WORKER_POOL__CONCURRENCY)"
    if not found.call_seconds:
        return f"{slots}, and no call of late to tell how long one takes"
    return f"{slots}, {found.call_seconds:.3g} s each"


def sentence(found: Capacity) -> str:
    """What keeps the live replicas from making more calls, and what would help."""
    wanted = found.wanted or found.now or 1
    some = "1 replica" if wanted == 1 else f"{wanted} replicas"
    match found.binds:
        case Limit.PAUSE:
            return "the pause: no call is made before it ends"
        case Limit.QUOTA:
            return (
                f"AWS's quota, as far as it is known: {some} can make all {found.rate:.4g} calls a "
                "second that it allows, and more replicas make no buyer wait less"
            )
        case Limit.CEILING:
            return (
                f"the ceiling: {some} can make all {found.rate:.4g} calls a second that it "
                "allows; a higher one (`resolution-worker rate`) may help, more replicas do not"
            )
        case Limit.CONCURRENCY:
            return (
                f"WORKER_POOL__CONCURRENCY: set it to {found.concurrency_wanted}, or start "
                f"replicas up to {max(wanted, found.now or 1)}"
            )
        case Limit.PROCESS:
            return (
                f"the processes, which answer about {PROCESS_RATE:g} a second each: start "
                f"replicas up to {max(wanted, found.now or 1)}"
            )
    return f"nothing: {some} can make more calls than are asked for"
