"""How long buyers waited, and how much was settled a second."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.lab.demo.plan import BACKLOG, LIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.lab.demo.findings import Hearing
    from worker.lab.demo.plan import Plan


@dataclass(frozen=True, slots=True)
class Wait:
    """How long the submissions of one lane took, in seconds.

    Attributes:
        lane: `live` or `backlog`.
        until: What ended the wait: `event` (the outcome's event was received here) or
            `settled_at` (the outcome was decided). Both count from `received_at`.
        submissions: How many were measured.
    """

    lane: str
    until: str
    submissions: int
    p50: float
    p95: float
    p99: float
    most: float


def waits(plan: Plan, hearing: Hearing) -> list[Wait]:
    """The waits of all readable submissions but those whose clock was hours behind."""
    found = []
    for lane in (LIVE, BACKLOG):
        heard = [
            hearing.events[one.message_id]
            for one in plan.submissions
            if one.lane == lane and not one.kind.age and one.message_id in hearing.events
        ]
        if heard:
            until_event = [(one.arrived_at - one.received_at).total_seconds() for one in heard]
            until_settled = [(one.settled_at - one.received_at).total_seconds() for one in heard]
            found += [wait(lane, "event", until_event), wait(lane, "settled_at", until_settled)]
    return found


def wait(lane: str, until: str, seconds: Sequence[float]) -> Wait:
    """The percentiles of some waits, at least one."""
    ordered = sorted(seconds)
    p50, p95, p99, most = (_percentile(ordered, share) for share in (0.5, 0.95, 0.99, 1.0))
    return Wait(lane, until, len(ordered), p50, p95, p99, most)


def _percentile(ordered: Sequence[float], share: float) -> float:
    """By nearest rank: a wait that somebody really had."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


_TAIL: Final = 0.05


def throughput(hearing: Hearing) -> float:
    """Submissions answered a second, over the middle nine tenths of them.

    The first ones meet an idle worker, and the last ones are those that AWS keeps waiting.
    """
    arrivals = sorted(one.arrived_at for one in hearing.events.values())
    first, last = int(_TAIL * len(arrivals)), int((1 - _TAIL) * len(arrivals)) - 1
    if last <= first:
        return 0.0
    seconds = (arrivals[last] - arrivals[first]).total_seconds()
    return (last - first) / seconds if seconds > 0 else 0.0
