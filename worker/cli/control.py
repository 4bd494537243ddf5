"""`pause` and `resume`, and how an operator's word reaches all replicas at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

import typer

from worker.adapters.postgres.operator.errors import DatabaseFault
from worker.adapters.postgres.operator.session import operating
from worker.adapters.postgres.rate import control
from worker.adapters.postgres.rate.control import AuditContext
from worker.cli import fleet_lines
from worker.cli.actor import actor as actor_of
from worker.cli.exits import UNAVAILABLE, failure
from worker.cli.settings import ConfigOption, settings_of
from worker.core.records import DEFAULT_SELLER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from worker.adapters.postgres.sessions import Session
    from worker.settings import Settings

_T = TypeVar("_T")

_MOST_CHARS: Final = 500
HEARD: Final = "; all replicas hear of it within two seconds"

ActorOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who acts, for the audit; else the login name.")
]


def checked_reason(given: str | None) -> str | None:
    """A reason on one line, or the end of the command with what is wrong about it."""
    if given is None:
        return None
    reason = " ".join(given.split())
    if not reason:
        raise typer.BadParameter("says nothing: say why, for whoever comes after you")
    if not reason.isprintable():
        raise typer.BadParameter("has control characters in it")
    if len(reason) > _MOST_CHARS:
        raise typer.BadParameter(f"has {len(reason)} characters, and at most {_MOST_CHARS} fit")
    return reason


_Reason: TypeAlias = Annotated[
    str,
    typer.Option(metavar="TEXT", callback=checked_reason, help="Why, for the audit and others."),
]


def pause(reason: _Reason, actor: ActorOption = None, config: ConfigOption = None) -> None:
    """Stops the calls of all replicas within two seconds, until `resume`; survives restarts.

    Nothing is lost: tokens wait in their queues. A pause that stands already stays as it is, with
    its actor and reason.
    """
    word = word_of(actor, reason)
    stands, new = tell(config, lambda session: control.pause(session, word))
    told = fleet_lines.given(stands.actor, stands.reason, stands.since)
    typer.echo(f"paused by {told}{HEARD}" if new else f"already paused by {told}", err=True)


def resume(reason: _Reason, actor: ActorOption = None, config: ConfigOption = None) -> None:
    """Lets the calls of all replicas go on within two seconds."""
    word = word_of(actor, reason)
    over = tell(config, lambda session: control.resume(session, word))
    if over is None:
        typer.echo("calls were not paused", err=True)
        return
    told = fleet_lines.given(over.actor, over.reason, over.since)
    typer.echo(f"resumed; they were paused by {told}{HEARD}", err=True)


# --- asking the database ---


def word_of(actor: str | None, reason: str) -> AuditContext:
    """Who acts and why, about the one seller account that there is."""
    return AuditContext(DEFAULT_SELLER, actor_of(actor), reason)


def tell(config: Path | None, act: Callable[[Session], Awaitable[_T]]) -> _T:
    """As `ask`, with the settings of this configuration."""
    return ask(settings_of(config), act)


def ask(settings: Settings, act: Callable[[Session], Awaitable[_T]]) -> _T:
    """What the database answers, or the end of the command with what is wrong."""

    async def asking() -> _T:
        async with operating(settings.current_postgres_dsn) as session:
            return await act(session)

    try:
        return asyncio.run(asking())
    except DatabaseFault as fault:
        raise failure(fault.line, UNAVAILABLE) from None
