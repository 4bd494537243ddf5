"""What operators tell a fleet: pause, resume, another ceiling. Each act is audited with its change.

Each is one function of the schema's owner, on a session that is given. All replicas hear of it with
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
    """Who tells the fleet something, and why.

    Attributes:
        seller: Whose account it is about.
    """

    seller: str
    actor: str
    reason: str


async def pause(session: Session, context: AuditContext) -> tuple[Pause, bool]:
    """Stop all calls until somebody resumes.

    A pause that stands already stays as it is: whoever ends it shall know whose it was.

    Returns:
        The pause that stands now, and whether it is this one.
    """
    (row,) = await session.fetch(_PAUSE, context.seller, *_texts(context))
    stands = pause_of(row)
    assert stands is not None  # it stood, or has just been written
    return stands, row["changed"]


async def resume(session: Session, context: AuditContext) -> Pause | None:
    """Let calls go on; returns the pause that is over, or None where there was none."""
    (row,) = await session.fetch(_RESUME, context.seller, *_texts(context))
    return pause_of(row)


async def set_ceiling(
    session: Session, context: AuditContext, ceiling: float | None
) -> Override | None:
    """Bound the rate, whatever the replicas' settings say; returns what was said before.

    Args:
        session: Open, and in no transaction.
        context: Who, and why.
        ceiling: Calls a second; None for no bound at all.
    """
    return await _say(session, context, math.inf if ceiling is None else ceiling)


async def reset_ceiling(session: Session, context: AuditContext) -> Override | None:
    """Let the replicas' settings bound the rate again; returns what was said before."""
    return await _say(session, context, None)


async def search_again(session: Session, context: AuditContext) -> float | None:
    """Double the rate from where it is until AWS throttles; returns where that is, if anywhere."""
    (row,) = await session.fetch(_SEARCH, context.seller, *_texts(context))
    rate: float | None = row["rate"]
    return rate


async def _say(session: Session, context: AuditContext, ceiling: float | None) -> Override | None:
    (row,) = await session.fetch(_CEILING, context.seller, ceiling, *_texts(context))
    return override_of(row)


def _texts(context: AuditContext) -> tuple[str, str]:
    return storable_text(context.actor), storable_text(context.reason)
