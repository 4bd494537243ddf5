"""How many replicas the rate and the waiting tokens are worth. The clock is an argument.

Calls are worth making for what arrives (as the calls a second of late show) and for what waits, a
buyer's within half a minute, the rest within ten; but never more than the rate allows. Divided by
what one replica can do that gives a number of replicas. The number that is told follows it late, so
that an autoscaler does not start and stop processes for nothing.

All replicas keep one `Plan`, which is stored beside the shared rate, so they all tell one number.
It begins at 0, which is told to nobody. Where replicas of a version before this drop the plan with
each report, it begins again and again, and no number is told until the last of them has ended; to
begin with as many as are live would make autoscalers keep what a roll-out starts for a moment.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

if TYPE_CHECKING:
    from worker.core.rate.fleet import ReplicaState, Report

PROCESS_RATE: Final = 800.0
"""Calls a second of one process, with which its answers stay quick; see docs/performance.md."""

FILLED: Final = 0.8  # of its slots for calls: with all of them busy tokens wait for one
LEAST_RATE: Final = 5.0  # calls a second for each replica, below which another is of no use
LIVE_SECONDS: Final = 30.0  # in which the waiting buyers are to be called for
BULK_SECONDS: Final = 600.0  # the same for backlog and crowd
MEMORY_SECONDS: Final = 30.0  # of the calls a second and of their duration
FIRST_SECONDS: Final = 2.0  # until there is a number at all, so that the queues were seen twice
RISE_SECONDS: Final = 30.0  # for which more replicas must have been worth it
FALL_SECONDS: Final = 300.0  # for which fewer must have been enough
UNSEEN_SECONDS: Final = 10.0  # for which the counts of queues stand in for those that are unknown
_LEAST_SECONDS: Final = 5.0  # in less than that a few calls would look like many a second
_ROUNDING: Final = 1e-9
_NEARLY: Final = 0.9  # of the rate: calls that come so close are held by it

_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
_Amount = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Limit(StrEnum):
    """What keeps the fleet from making more calls."""

    NOTHING = "nothing"
    QUOTA = "quota"
    CEILING = "ceiling"
    CONCURRENCY = "concurrency"
    PROCESS = "process"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the fleet has to do, and for how many replicas that is work.

    Attributes:
        replicas: How many are wanted; 0 while that is not known yet.
        nearest: The number closest to `replicas` that was worth it since `since`.
        since: Since when it was more, or fewer, than `replicas` all the time, in epoch seconds.
        updated: When the last report came, in epoch seconds of the database.
        seen: When a replica last knew how much waits in the queues; 0 for never.
        seconds: How long calls have been counted; the weight of all counts decays over
            `MEMORY_SECONDS`.
        calls: Calls of late.
        busy_seconds: How long these took, all together.
        concurrency: Calls that one replica may have in flight: the mean of those that report.
        live: Live submissions that are not settled, as last known.
        bulk: The same of backlog and crowd.
    """

    replicas: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    nearest: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    since: _Amount
    updated: _Amount
    seconds: _Amount = 0.0
    calls: _Amount = 0.0
    busy_seconds: _Amount = 0.0
    concurrency: Annotated[float, msgspec.Meta(ge=1, le=1_000_000)] = 1.0
    live: _Count = 0
    bulk: _Count = 0
    seen: _Amount = 0.0

    @property
    def called(self) -> float:
        """Calls a second, of late."""
        return self.calls / max(self.seconds, _LEAST_SECONDS)

    @property
    def demand(self) -> float:
        """Calls a second that would serve what arrives and what waits."""
        return self.called + self.live / LIVE_SECONDS + self.bulk / BULK_SECONDS

    @property
    def call_seconds(self) -> float:
        """How long one call takes; 0 if there was none of late."""
        return self.busy_seconds / self.calls if self.calls >= 1 else 0.0

    @property
    def each(self) -> float:
        """Calls a second that one replica can make."""
        return min(PROCESS_RATE, self._by_concurrency)

    @property
    def _by_concurrency(self) -> float:
        seconds = self.call_seconds
        return FILLED * self.concurrency / seconds if seconds else math.inf

    def worth(self, rate: float) -> int:
        """How many replicas there is work for at this moment.

        Args:
            rate: Calls a second that all together may make.
        """
        most = max(1, int(rate / LEAST_RATE))
        return max(1, min(most, math.ceil(min(rate, self.demand) / self.each)))

    def limit(self, rate: float, ceiling: float | None, replicas: int, *, starved: bool) -> Limit:
        """What keeps so many replicas from making more calls.

        Args:
            rate: Calls a second that all together may make.
            ceiling: The most that the rate may be; None for no bound.
            replicas: How many are live.
            starved: Whether tokens wait for a permit at this moment.
        """
        can = replicas * self.each
        if can < min(rate, self.demand):
            by_slots = self._by_concurrency < PROCESS_RATE
            return Limit.CONCURRENCY if by_slots else Limit.PROCESS
        if not starved and self.demand < _NEARLY * rate:
            return Limit.NOTHING
        return Limit.CEILING if ceiling is not None and rate >= ceiling else Limit.QUOTA

    def concurrency_for(self, rate: float, replicas: int) -> int:
        """The concurrency with which so many replicas could make all these calls."""
        useful = min(rate, self.demand) / max(1, replicas)
        needed = min(PROCESS_RATE, useful) * self.call_seconds / FILLED
        return max(1, math.ceil(needed * (1 + _ROUNDING)))


def begun(concurrency: int, now: float) -> Plan:
    """The plan where none is known, not even a number of replicas."""
    return Plan(0, 0, since=now, updated=now, concurrency=max(1, concurrency))


def advance(
    plan: Plan, report: Report, state: ReplicaState, now: float, *, rate: float, paused: bool
) -> Plan:
    """The plan after one replica's report.

    Args:
        plan: The plan before.
        report: Its calls since its last report.
        state: What it has to do.
        now: Epoch seconds of the database.
        rate: Calls a second that all together may make.
        paused: Whether an operator has stopped all calls: then the number stays, for calls say
            nothing of what arrives.

    The number stays, too, where no replica has known the queues for `UNSEEN_SECONDS`: little is
    called then, and much may wait.
    """
    elapsed = max(0.0, now - plan.updated)
    kept = math.exp(-elapsed / MEMORY_SECONDS)
    stays = paused or not plan.seen or now - plan.seen > UNSEEN_SECONDS
    plan = replace(
        plan,
        since=min(plan.since, now),
        updated=now,
        seconds=min(MEMORY_SECONDS, kept * plan.seconds + elapsed),
        calls=kept * plan.calls + report.calls,
        busy_seconds=kept * plan.busy_seconds + report.busy_seconds,
        concurrency=plan.concurrency + (1 - kept) * (max(1, state.concurrency) - plan.concurrency),
        seen=min(plan.seen, now),
    )
    if state.live is not None and state.bulk is not None:
        plan = replace(plan, live=state.live, bulk=state.bulk, seen=now)
    return _followed(plan, plan.replicas if stays else plan.worth(rate), now)


def _followed(plan: Plan, worth: int, now: float) -> Plan:
    """Follow a number that has been worth it for long enough, as far as it was so all the time."""
    rises, was = worth > plan.replicas, plan.nearest - plan.replicas
    if worth == plan.replicas or was == 0 or rises != (was > 0):
        return replace(plan, nearest=worth, since=now)
    if plan.replicas == 0:
        nearest, seconds = worth, FIRST_SECONDS
    else:
        seconds = RISE_SECONDS if rises else FALL_SECONDS
        nearest = min(worth, plan.nearest) if rises else max(worth, plan.nearest)
    if now - plan.since < seconds:
        return replace(plan, nearest=nearest)
    return replace(plan, replicas=nearest, nearest=nearest, since=now)


def stored(plan: Plan) -> dict[str, object]:
    """The plan as it is stored."""
    return asdict(plan)


def restored(document: object) -> Plan | None:
    """The plan as it was stored; None if there is none, or if it can't have been written so."""
    try:
        return msgspec.convert(document, Plan)
    except msgspec.ValidationError:
        return None
