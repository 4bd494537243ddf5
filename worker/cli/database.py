"""Asks the database for a command, and ends the command in words where that fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from worker.adapters.postgres.operator.errors import DatabaseFault, told_operator
from worker.adapters.postgres.operator.session import operating
from worker.cli.exits import UNAVAILABLE, failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.adapters.postgres.sessions import Session
    from worker.settings import Settings

_T = TypeVar("_T")


def ask(settings: Settings, work: Callable[[Session], Awaitable[_T]]) -> _T:
    """Return what the work returns, which is done over one connection as an operator."""

    async def asking() -> _T:
        async with operating(settings.current_postgres_dsn) as session:
            return await work(session)

    try:
        return asyncio.run(asking())
    except DatabaseFault as fault:
        raise failure(told_operator(fault.line), UNAVAILABLE) from None
