"""Retention on PostgreSQL: a batch is a short transaction, under a lock that the fleet shares."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worker.adapters.postgres.errors import translated
from worker.adapters.postgres.sessions import Sessions
from worker.adapters.postgres.sql import load_sql
from worker.core.dead_letters.retention import BATCH_ROWS, Chore

if TYPE_CHECKING:
    from worker.adapters.postgres.sessions import Connect
    from worker.core.dead_letters.retention import Task

_CALL_SECONDS: Final = 10.0
_TURN: Final = load_sql("dead_letters/retention_turn")
_CHORES: Final = {
    Chore.SHRED: load_sql("dead_letters/shred_payloads"),
    Chore.ARCHIVE: load_sql("dead_letters/archive_letters"),
    Chore.PRUNE_LETTERS: load_sql("dead_letters/prune_letters"),
    Chore.PRUNE_MALFORMED: load_sql("dead_letters/prune_malformed"),
    Chore.PRUNE_REPLAYS: load_sql("dead_letters/prune_replays"),
    Chore.PRUNE_LEDGER: load_sql("dead_letters/prune_ledger"),
    Chore.PRUNE_UNRESOLVED: load_sql("dead_letters/prune_unresolved"),
    Chore.PRUNE_AUDIT: load_sql("dead_letters/prune_audit"),
}


class PostgresRetention:
    """Does batches over a connection of its own, which is there for a round at a time.

    Args:
        connect: Opens a connection; see `sessions.connector`.
    """

    def __init__(self, connect: Connect) -> None:
        self._sessions = Sessions(connect, 1, statement_cache=False)

    async def batch(self, task: Task) -> int | None:
        """Do a batch of a task.

        Returns:
            How many rows it was; None while another worker does retention.

        Raises:
            LedgerUnavailable: Nothing was done, or the connection was lost at the commit and it
                is unknown.
            RowsRefused: Nothing was done.
        """
        ages = () if task.older_than is None else (task.older_than,)
        with translated():
            async with (
                asyncio.timeout(_CALL_SECONDS),
                self._sessions.borrow() as session,
                session.transaction(),
            ):
                (turn,) = await session.fetch(_TURN)
                if not turn["mine"]:
                    return None
                (done,) = await session.fetch(_CHORES[task.chore], *ages, BATCH_ROWS)
                return int(done["rows"])

    async def rest(self) -> None:
        """Close the connection; the next batch opens another."""
        await self._sessions.close()
