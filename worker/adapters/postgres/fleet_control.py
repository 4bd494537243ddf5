"""What operators tell a fleet: pause, resume, another ceiling. Each act is audited with its change.

Each is one transaction on a session that is given. All replicas hear of it with their next lease.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import orjson

from worker.adapters.postgres import fleet_queries as queries
from worker.adapters.postgres.audit import Entry, record
from worker.adapters.postgres.fleet_rows import pause_of
from worker.adapters.postgres.fleet_standing import Override, override_of
from worker.adapters.postgres.rows import storable_text
from worker.core import quota

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.adapters.postgres.connection import Session
    from worker.core.fleet import Pause


@dataclass(frozen=True, slots=True)
class Word:
    """Who tells the fleet something, and why.

    Attributes:
        seller: Whose account it is about.
    """

    seller: str
    actor: str
    reason: str


async def pause(session: Session, word: Word) -> tuple[Pause, bool]:
    """Stop all calls until somebody resumes.

    A pause that stands already stays as it is: whoever ends it shall know whose it was.

    Returns:
        The pause that stands now, and whether it is this one.
    """
    async with session.transaction():
        (row,) = await session.fetch(queries.HOLD, word.seller)
        stood = pause_of(row)
        if stood is None:
            (row,) = await session.fetch(queries.PAUSE, *_texts(word))
        await _audit(session, word, "pause", {"changed": stood is None})
    found = pause_of(row)
    assert found is not None  # it stood, or has just been written
    return found, stood is None


async def resume(session: Session, word: Word) -> Pause | None:
    """Let calls go on; returns the pause that is over, or None where there was none."""
    async with session.transaction():
        (row,) = await session.fetch(queries.HOLD, word.seller)
        stood = pause_of(row)
        if stood is not None:
            await session.fetch(queries.RESUME, word.seller)
        await _audit(session, word, "resume", {"changed": stood is not None})
    return stood


async def set_ceiling(session: Session, word: Word, ceiling: float | None) -> Override | None:
    """Bound the rate, whatever the replicas' settings say; returns what was said before.

    Args:
        session: Open, and in no transaction.
        word: Who, and why.
        ceiling: Calls a second; None for no bound at all.
    """
    async with session.transaction():
        (row,) = await session.fetch(queries.HOLD, word.seller)
        seller, *texts = _texts(word)
        most = math.inf if ceiling is None else ceiling
        await session.fetch(queries.OVERRIDE, seller, most, *texts)
        told = {"ceiling": _told(most), "before": _told(row["ceiling"])}
        await _audit(session, word, "rate.set", told)
    return override_of(row)


async def reset_ceiling(session: Session, word: Word) -> Override | None:
    """Let the replicas' settings bound the rate again; returns what was said before."""
    async with session.transaction():
        (row,) = await session.fetch(queries.HOLD, word.seller)
        await session.fetch(queries.DEFAULT, word.seller)
        await _audit(session, word, "rate.default", {"before": _told(row["ceiling"])})
    return override_of(row)


async def search_again(session: Session, word: Word) -> float | None:
    """Double the rate from where it is until AWS throttles; returns where that is, if anywhere."""
    async with session.transaction():
        (row,) = await session.fetch(queries.HOLD, word.seller)
        rate: float | None = row["rate"]
        if rate is not None:
            state = orjson.dumps(asdict(quota.initial(rate, row["now"]))).decode()
            await session.fetch(queries.SEARCH, word.seller, state)
        await _audit(session, word, "rate.search", {"from": rate})
    return rate


def _told(ceiling: float | None) -> float | str | None:
    """A ceiling as the audit has it: calls a second, `none`, or null where nobody said anything."""
    return "none" if ceiling == math.inf else ceiling


def _texts(word: Word) -> tuple[str, str, str]:
    return word.seller, storable_text(word.actor), storable_text(word.reason)


async def _audit(session: Session, word: Word, action: str, subject: Mapping[str, object]) -> None:
    entry = Entry(word.actor, word.reason, action, {"seller": word.seller, **subject})
    await record(session, entry)
