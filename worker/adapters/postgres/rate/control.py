"""An operator's commands to a fleet: pause, resume, another ceiling, a new search.

Each calls one database function, which makes the change and audits it. All replicas receive it with
their next lease.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.adapters.postgres.rate.rows import pause_of
from worker.adapters.postgres.rate.status import Override, override_of
from worker.adapters.postgres.rows import storable_text
from worker.adapters.postgres.sql import load_sql

if TYPE_CHECKING:
    from worker.adapters.postgres.sessions import Session
    from worker.core.rate.fleet import Pause


_PAUSE: Final = load_sql("rate/pause")
_RESUME: Final = load_sql("rate/resume")
_SEARCH: Final = load_sql("rate/search")
_CEILING: Final = load_sql("rate/ceiling")


@dataclass(frozen=True, slots=True)
class AuditContext:
    """Who gives a command, and why.

    Attributes:
        seller: The seller whose fleet it is for.
    """

    seller: str
    actor: str
    reason: str


async def pause(
    session: Session, context: AuditContext, seconds: float | None = None
) -> tuple[Pause, bool]:
    """Stop all calls, for so many seconds or, with None, until they are resumed.

    An existing pause is not changed, so that whoever ends it can see who began it.

    Returns:
        The pause now in force, and whether this call began it.
    """
    (row,) = await session.fetch(_PAUSE, context.seller, *_texts(context), seconds)
    in_force = pause_of(row)
    assert in_force is not None  # it existed, or has just been written
    return in_force, row["changed"]


async def resume(session: Session, context: AuditContext) -> Pause | None:
    """Resume calls; returns the pause that ended, without its `until`, or None without one."""
    (row,) = await session.fetch(_RESUME, context.seller, *_texts(context))
    return pause_of(row)


async def set_ceiling(
    session: Session, context: AuditContext, ceiling: float | None
) -> Override | None:
    """Set a ceiling in place of the replicas' settings; returns the previous override, if any.

    Args:
        session: Open, and not in a transaction.
        context: Who, and why.
        ceiling: Calls a second; None for no ceiling.
    """
    return await _override(session, context, math.inf if ceiling is None else ceiling)


async def reset_ceiling(session: Session, context: AuditContext) -> Override | None:
    """Return to the ceilings in the replicas' settings; returns the previous override, if any."""
    return await _override(session, context, None)


async def search_again(session: Session, context: AuditContext) -> float | None:
    """Double the rate from its present value until AWS throttles; returns that value, if any."""
    (row,) = await session.fetch(_SEARCH, context.seller, *_texts(context))
    rate: float | None = row["rate"]
    return rate


async def _override(
    session: Session, context: AuditContext, ceiling: float | None
) -> Override | None:
    (row,) = await session.fetch(_CEILING, context.seller, ceiling, *_texts(context))
    return override_of(row)


def _texts(context: AuditContext) -> tuple[str, str]:
    return storable_text(context.actor), storable_text(context.reason)
