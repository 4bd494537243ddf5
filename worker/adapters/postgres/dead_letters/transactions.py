"""Transactions of the commands on dead letters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from worker.adapters.postgres.collisions import repeat_on_collision
from worker.adapters.postgres.dead_letters.filters import statement_about
from worker.adapters.postgres.errors import translated
from worker.adapters.postgres.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from worker.adapters.postgres.sessions import Connect, Session
    from worker.core.dead_letters.filters import Selection

_T = TypeVar("_T")
_CALL_SECONDS: Final = 30.0


class Transactions:
    """Runs one transaction at a time, or two: a heartbeat must not wait for a batch.

    Args:
        connect: Opens one connection; see `sessions.connector`.
    """

    def __init__(self, connect: Connect) -> None:
        self.sessions = Sessions(connect, 2, statement_cache=None)

    async def chosen(
        self, sql: str, selection: Selection, given: dict[str, Any], **conditions: str
    ) -> list[asyncpg.Record]:
        """Run one statement about the dead letters that were chosen.

        Raises:
            LedgerUnavailable: The database can't do it now.
        """
        text, arguments = statement_about(sql, selection, given, **conditions)
        return await self.run(lambda session: session.fetch(text, *arguments))

    async def run(self, act: Callable[[Session], Awaitable[_T]]) -> _T:
        """Return what `act` returns, whose statements are one transaction.

        Raises:
            LedgerUnavailable: The database can't do it now.
        """
        with translated():
            return await repeat_on_collision(lambda: self._transact(act))

    async def _transact(self, act: Callable[[Session], Awaitable[_T]]) -> _T:
        async with (
            asyncio.timeout(_CALL_SECONDS),
            self.sessions.borrow() as session,
            session.transaction(),
        ):
            return await act(session)
