"""Asks the database on behalf of a command, and ends the command in words where it can't be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import typer

from worker.adapters.postgres.dead_letters.views import group_letters
from worker.adapters.postgres.operator.errors import DatabaseFault, told_operator
from worker.adapters.postgres.operator.session import operating
from worker.cli.exits import UNAVAILABLE, failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.adapters.postgres.sessions import Session
    from worker.settings import Settings

_T = TypeVar("_T")
_TOLD_EACH: Final = 20_000


def ask(settings: Settings, work: Callable[[Session], Awaitable[_T]]) -> _T:
    """What the work returns that is done over one connection."""
    try:
        return asyncio.run(_ask(settings, work))
    except DatabaseFault as fault:
        raise failure(told_operator(fault.line), UNAVAILABLE) from None


async def _ask(settings: Settings, work: Callable[[Session], Awaitable[_T]]) -> _T:
    async with operating(settings.current_postgres_dsn) as session:
        return await work(session)


async def grouped(session: Session) -> None:
    """See to it that letters can be chosen by group."""
    if count := await group_letters(session, _say_so_far):
        typer.echo(f"grouped {count} letters that an older version has kept", err=True)


def _say_so_far(count: int) -> None:
    if count % _TOLD_EACH == 0:
        typer.echo(f"grouping letters that an older version has kept: {count} so far", err=True)
