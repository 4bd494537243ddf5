"""What the replicas share, as `status`, `check` and `rate` tell it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core import aws_causes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from worker.adapters.postgres.rate.status import Member, Standing


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls a second of all replicas together.

    Attributes:
        ceiling: The most that it may be; None for no bound.
        shared: What it is, the last known where no replica is live; None where none ever was.
        source: Where the ceiling comes from: an operator's `command`, the settings of the live
            `replicas`, or, where none is live, the `settings` of whoever asks.
        configured: The ceiling that would be in force without a command.
        singly: Whether the rate is so low that permits are taken one by one.
        actor: Who gave the command, if one is in force.
        reason: Why.
        since: Since when.
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
        probes: How often they have looked whether it is over, all together.
        replicas: How many they are.
        names: Which.
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
    """Whether calls of live replicas are stopped for a fault that is ours or an outage.

    Attributes:
        open: Whether calls of any are.
        alone: Whether AWS accepts others meanwhile: those that are stopped take no messages.
        live: How many replicas there are.
    """

    open: bool
    alone: bool
    live: int
    stopped: tuple[Stopped, ...]


def rate(standing: Standing, ceiling: float | None) -> Rate:
    """The rate and where its ceiling comes from.

    Args:
        standing: How the fleet stands.
        ceiling: The one in the settings of whoever asks.
    """
    live = bool(standing.members)
    configured = standing.configured if live else ceiling
    word = standing.override
    if word is None:
        source = "replicas" if live else "settings"
        return Rate(configured, standing.rate, source, configured, standing.singly)
    return Rate(
        ceiling=word.ceiling,
        shared=standing.rate,
        source="command",
        configured=configured,
        singly=standing.singly,
        actor=word.actor,
        reason=word.reason,
        since=word.since,
    )


def breaker(standing: Standing) -> Breaker:
    """Whether calls are stopped, why, and what to do about it."""
    live, refused = len(standing.members), standing.refused
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
