"""What the replicas share, as shown by `status`, `check` and `rate`."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core import aws_causes
from worker.core.rate.capacity import Limit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from worker.adapters.postgres.rate.status import FleetStatus, Member

OUTDATED_SECONDS: Final = 10.0
"""What was reported longer ago is no longer so; each replica reports about once a second."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls a second of all replicas together.

    Attributes:
        ceiling: Upper limit of the rate; None for no limit.
        shared: The current rate; the last known one if no replica is live, None if none ever was.
        source: Where the ceiling comes from: an operator's `command`, the settings of the live
            `replicas` or, if none is live, the caller's own `settings`.
        configured: The ceiling that would apply without a command.
        singly: Whether the rate is so low that permits are taken one by one.
        actor: Who gave the command, if one is in force.
        reason: The reason given with the command.
        since: When the command was given.
    """

    ceiling: float | None
    shared: float | None = None
    source: str = "settings"
    configured: float | None = None
    singly: bool = False
    actor: str | None = None
    reason: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why calls of some replicas are stopped, and what to do about it.

    Attributes:
        since: When the first of them stopped.
        probes: How many probes they have sent, all together, to see whether it is over.
        replicas: Number of these replicas.
        names: Their names.
    """

    code: str
    message: str
    remedy: str
    since: datetime
    probes: int
    replicas: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether calls of live replicas are stopped, by a systemic fault or an outage.

    Attributes:
        open: Whether the calls of any replica are stopped.
        alone: Whether AWS accepts other replicas meanwhile: the stopped ones take no messages.
        live: Number of live replicas.
    """

    open: bool
    alone: bool
    live: int
    stopped: tuple[Stopped, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Submissions that are not settled: a buyer's (live), and those of backlog and crowd (bulk)."""

    live: int
    bulk: int


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many replicas there is work for. What no replica has told, or none of late, is None.

    Attributes:
        wanted: How many are wanted; what autoscalers are told.
        live: How many there are.
        reported_seconds: How long ago a replica last reported; None for never.
        queues_seconds: How long ago a replica last knew how much waits in the queues; None for
            never.
        now: How many there is work for at this moment; `wanted` follows it late.
        binds: What keeps those that are live from making more calls.
        rate: Calls a second that all together may make.
        demand: Calls a second that would serve what arrives and what waits.
        each: Calls a second that one replica can make.
        called: Calls a second that were made of late.
        waiting: What waits, in queues and in hand, as it was `queues_seconds` ago.
        concurrency: Calls that one replica may have in flight, on the mean.
        call_seconds: How long a call takes; 0 if there was none of late.
        concurrency_wanted: The concurrency with which the live replicas could make all calls.
    """

    wanted: int | None
    live: int
    reported_seconds: float | None = None
    queues_seconds: float | None = None
    now: int | None = None
    binds: Limit | None = None
    rate: float | None = None
    demand: float | None = None
    each: float | None = None
    called: float | None = None
    waiting: Waiting | None = None
    concurrency: int | None = None
    call_seconds: float | None = None
    concurrency_wanted: int | None = None


def rate(fleet_status: FleetStatus, ceiling: float | None) -> Rate:
    """The rate and where its ceiling comes from.

    Args:
        fleet_status: The fleet's state.
        ceiling: The ceiling in the caller's own settings.
    """
    live = bool(fleet_status.members)
    configured = fleet_status.configured if live else ceiling
    override = fleet_status.override
    if override is None:
        source = "replicas" if live else "settings"
        return Rate(configured, fleet_status.rate, source, configured, fleet_status.singly)
    return Rate(
        ceiling=override.ceiling,
        shared=fleet_status.rate,
        source="command",
        configured=configured,
        singly=fleet_status.singly,
        actor=override.actor,
        reason=override.reason,
        since=override.since,
    )


def breaker(fleet_status: FleetStatus) -> Breaker:
    """Whether calls are stopped, why, and what to do about it."""
    live, refused = len(fleet_status.members), fleet_status.refused
    by_reason: dict[tuple[str, str], list[Member]] = defaultdict(list)
    for each in refused:
        by_reason[each.refused_code or "", each.refused_message or ""].append(each)
    stopped = tuple(_stopped(*reason, some) for reason, some in by_reason.items())
    return Breaker(bool(refused), 0 < len(refused) < live, live, stopped)


def _stopped(code: str, message: str, some: Sequence[Member]) -> Stopped:
    return Stopped(
        code=code,
        message=message,
        remedy=aws_causes.of_systemic(code, message).remedy,
        since=min(each.refused_at or each.seen_at for each in some),
        probes=sum(each.probes for each in some),
        replicas=len(some),
        names=tuple(each.replica for each in some),
    )


def capacity(fleet_status: FleetStatus) -> Capacity:
    """How many replicas there is work for, and what keeps those that are live from calling more."""
    live, rate = len(fleet_status.members), fleet_status.rate
    plan, starved = fleet_status.plan, any(math.isinf(each.need) for each in fleet_status.members)
    if plan is None or rate is None:
        return Capacity(wanted=None, live=live)
    reported = max(0.0, fleet_status.now - plan.updated)
    seen = max(0.0, fleet_status.now - plan.seen) if plan.seen else None
    if seen is None or reported > OUTDATED_SECONDS:
        return Capacity(None, live, reported_seconds=reported, queues_seconds=seen)
    binds = plan.limit(rate, fleet_status.ceiling, max(1, live), starved=starved)
    return Capacity(
        wanted=plan.replicas or None,
        live=live,
        reported_seconds=reported,
        queues_seconds=seen,
        now=plan.worth(rate),
        binds=Limit.PAUSE if fleet_status.pause else binds,
        rate=rate,
        demand=plan.demand,
        each=plan.each,
        called=plan.called,
        waiting=Waiting(plan.live, plan.bulk),
        concurrency=round(plan.concurrency),
        call_seconds=plan.call_seconds,
        concurrency_wanted=plan.concurrency_for(rate, max(1, live)),
    )
