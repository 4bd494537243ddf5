"""What the replicas share, as `status`, `check` and `rate` tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.app import refusals

if TYPE_CHECKING:
    from datetime import datetime

    from worker.adapters.postgres.fleet_standing import Refused, Standing


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
    """Why calls as one identity are stopped, and what to do about it.

    Attributes:
        identity: As whom AWS is called, as 16 digits that give nothing away.
        probes: How often a replica has looked whether it is over.
        replicas: How many live replicas call as this identity.
    """

    identity: str
    code: str
    message: str
    remedy: str
    since: datetime
    probes: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether calls of live replicas are stopped for a fault that is ours or an outage."""

    open: bool
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
    return Breaker(standing.refused, tuple(_stopped(each) for each in standing.refusals))


def _stopped(refused: Refused) -> Stopped:
    return Stopped(
        identity=refused.identity,
        code=refused.code,
        message=refused.message,
        remedy=refusals.breaker_remedy(refused.code, refused.message),
        since=refused.since,
        probes=refused.probes,
        replicas=refused.replicas,
    )
