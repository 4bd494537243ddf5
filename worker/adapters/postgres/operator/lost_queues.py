"""Queues that went missing on the broker, as commands of people see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.adapters.postgres.rows import storable_text
from worker.adapters.postgres.sql import load_sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from worker.adapters.postgres.sessions import Session

_ACKNOWLEDGE: Final = load_sql("operator/acknowledge_queues")
_NOTE_QUEUES: Final = load_sql("ledger/note_queues")


async def acknowledge(session: Session, actor: str, reason: str) -> Mapping[str, datetime]:
    """Forget which queues went missing, audited; returns them, and since when."""
    rows = await session.fetch(_ACKNOWLEDGE, storable_text(actor), storable_text(reason))
    return {row["name"]: row["lost_at"] for row in rows}


async def note_created(session: Session, queues: Sequence[str]) -> list[str]:
    """Which of these queues, just created, had been there before; they count as lost now."""
    rows = await session.fetch(_NOTE_QUEUES, [], list(queues))
    return [row["name"] for row in rows if row["name"] in queues]
