"""How a fleet stands: what its replicas share, as a person wants to see it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from worker.adapters.postgres.rate.rows import pause_of
from worker.adapters.postgres.sql import load_sql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from worker.core.rate.fleet import Pause

    Fetch: TypeAlias = Callable[..., Awaitable[list[Any]]]


_ROW: Final = load_sql("rate/row")
_REPLICAS: Final = load_sql("rate/replicas")


@dataclass(frozen=True, slots=True)
class Override:
    """An operator's ceiling in place of the configured ones.

    Attributes:
        ceiling: Calls a second; None for no bound at all.
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
        share: Calls a second that are its own.
        ceiling: The one in its settings.
        identity: As whom it calls AWS.
        version: Of its program.
        refused_code: Why AWS refuses its calls, in AWS's code and words; None while it does not.
        refused_at: Since when.
        probes: How often it has looked since whether that is over.
        accepted_at: When AWS last accepted a call of its.
        suspected: Messages that it handles apart, since one of them may end the process.
        skew_seconds: By how much its machine's clock is ahead of the database's.
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


@dataclass(frozen=True, slots=True)
class Standing:
    """What the replicas of a seller share.

    Attributes:
        rate: Calls a second of all together, the last known if none lives; None if none ever did.
        singly: Permits are asked for one by one.
        configured: The lowest ceiling in the settings of the live replicas.
    """

    rate: float | None
    singly: bool
    configured: float | None
    override: Override | None
    pause: Pause | None
    members: tuple[Member, ...]

    @property
    def ceiling(self) -> float | None:
        """The most that the rate may be; None for no bound."""
        return self.override.ceiling if self.override else self.configured

    @property
    def refused(self) -> tuple[Member, ...]:
        """Live replicas whose calls are stopped."""
        return tuple(each for each in self.members if each.refused_code is not None)


async def standing(fetch: Fetch, seller: str) -> Standing:
    """Read how a seller's fleet stands.

    Args:
        fetch: Runs a statement with arguments and returns its rows.
        seller: Whose account it is.
    """
    rows = await fetch(_ROW, seller)
    members = tuple(Member(*row) for row in await fetch(_REPLICAS, seller))
    ceilings = (member.ceiling for member in members if member.ceiling is not None)
    row = rows[0] if rows else None
    return Standing(
        rate=row and row["rate"],
        singly=bool(row and row["singly"]),
        configured=min(ceilings, default=None),
        override=override_of(row) if row else None,
        pause=pause_of(row) if row else None,
        members=members,
    )


def override_of(row: Any) -> Override | None:
    """The operator's ceiling in a row of `quota`, if one is set."""
    if row["ceiling"] is None:
        return None
    ceiling = None if math.isinf(row["ceiling"]) else row["ceiling"]
    return Override(ceiling, row["ceiling_actor"], row["ceiling_reason"], row["ceiling_at"])
