"""What the replicas share, as shown by `status`, `check` and `rate`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core import aws_causes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from worker.adapters.postgres.rate.status import FleetStatus, Member


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
