"""The state of a fleet, for people."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from worker.adapters.postgres.rate.rows import parsed, pause_of, plan_of
from worker.adapters.postgres.sql import load_sql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from worker.core.rate.capacity import Plan
    from worker.core.rate.fleet import Pause

    Fetch: TypeAlias = Callable[..., Awaitable[list[Any]]]


_ROW: Final = load_sql("rate/row")
_REPLICAS: Final = load_sql("rate/replicas")


@dataclass(frozen=True, slots=True)
class Override:
    """An operator's ceiling in place of the configured ones.

    Attributes:
        ceiling: Calls a second; None for no ceiling.
    """

    ceiling: float | None
    actor: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Member:
    """A live replica.

    Attributes:
        need: Calls a second that it could use; infinite while tokens wait for a permit.
        share: Its share of the rate, in calls a second.
        ceiling: The ceiling in its settings.
        identity: A hash of the identity and endpoint of its calls to AWS.
        version: The program's version.
        refused_code: Why AWS refuses its calls, as AWS's code; None while it does not.
        refused_at: Since when.
        probes: How many probes it has sent since then.
        accepted_at: When AWS last accepted one of its calls.
        suspected: Number of messages that it handles apart, because one may crash the process.
        skew_seconds: How much its machine's clock is ahead of the database's.
        in_hand: By lane, its unacked messages and the seconds since the oldest was received.
    """

    replica: str
    need: float
    share: float
    ceiling: float | None
    identity: str
    version: str
    seen_at: datetime
    refused_code: str | None = None
    refused_message: str | None = None
    refused_at: datetime | None = None
    probes: int = 0
    accepted_at: datetime | None = None
    suspected: int = 0
    skew_seconds: float | None = None
    in_hand: Mapping[str, tuple[int, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The shared state of a seller's replicas.

    Attributes:
        rate: Calls a second of all together; the last known rate if no replica is live, None if
            none ever was.
        singly: Whether permits are taken one by one.
        configured: The lowest ceiling in the settings of the live replicas.
        plan: For how many replicas there is work; None if none is known.
        now: The database's time, in epoch seconds; 0 if no replica has ever worked.
    """

    rate: float | None
    singly: bool
    configured: float | None
    override: Override | None
    pause: Pause | None
    members: tuple[Member, ...]
    plan: Plan | None = None
    now: float = 0.0

    @property
    def ceiling(self) -> float | None:
        """The ceiling in force; None for none."""
        return self.override.ceiling if self.override else self.configured

    @property
    def refused(self) -> tuple[Member, ...]:
        """Live replicas whose calls are stopped."""
        return tuple(each for each in self.members if each.refused_code is not None)


async def fleet_status(fetch: Fetch, seller: str) -> FleetStatus:
    """Read the state of a seller's fleet.

    Args:
        fetch: Runs a statement with arguments and returns its rows.
        seller: The seller.
    """
    rows = await fetch(_ROW, seller)
    members = tuple(map(_member, await fetch(_REPLICAS, seller)))
    ceilings = (member.ceiling for member in members if member.ceiling is not None)
    row = rows[0] if rows else None
    return FleetStatus(
        rate=row and row["rate"],
        singly=bool(row and row["singly"]),
        configured=min(ceilings, default=None),
        override=override_of(row) if row else None,
        pause=pause_of(row) if row else None,
        members=members,
        plan=plan_of(parsed(row["state"])) if row else None,
        now=row["now"] if row else 0.0,
    )


def _member(row: Any) -> Member:
    return Member(**{**row, "in_hand": _in_hand(row["in_hand"])})


def _in_hand(document: str | None) -> Mapping[str, tuple[int, float]]:
    """What a replica has in hand; nothing where it does not say so in our words."""
    try:
        return _IN_HAND.decode(document or "{}")
    except msgspec.DecodeError:
        return {}


_IN_HAND: Final = msgspec.json.Decoder(dict[str, tuple[int, float]])


def override_of(row: Any) -> Override | None:
    """The operator's ceiling in a row of `quota`, if one is set."""
    if row["ceiling"] is None:
        return None
    ceiling = None if math.isinf(row["ceiling"]) else row["ceiling"]
    return Override(ceiling, row["ceiling_actor"], row["ceiling_reason"], row["ceiling_at"])
