"""`pause` and `resume`, and how an operator's word reaches all replicas at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

import typer

from worker.cli import fleet_lines
from worker.cli.actor import actor as actor_of
from worker.cli.exits import UNAVAILABLE, failure, settings_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.adapters.postgres.rate.control import AuditContext
    from worker.adapters.postgres.sessions import Session
    from worker.settings import Settings

_T = TypeVar("_T")

_MOST_CHARS: Final = 500
HEARD: Final = "; all replicas hear of it within two seconds"

ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option(help="TOML file of settings; else WORKER_CONFIG.")
]
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
    from worker.adapters.postgres.rate import control  # noqa: PLC0415 - keeps --help fast

    word = word_of(actor, reason)
    stands, new = tell(config, lambda session: control.pause(session, word))
    told = fleet_lines.given(stands.actor, stands.reason, stands.since)
    typer.echo(f"paused by {told}{HEARD}" if new else f"already paused by {told}", err=True)


def resume(reason: _Reason, actor: ActorOption = None, config: ConfigOption = None) -> None:
    """Lets the calls of all replicas go on within two seconds."""
    from worker.adapters.postgres.rate import control  # noqa: PLC0415 - as above

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
    from worker.adapters.postgres.rate.control import AuditContext  # noqa: PLC0415 - as above
    from worker.core.records import DEFAULT_SELLER  # noqa: PLC0415 - as above

    return AuditContext(DEFAULT_SELLER, actor_of(actor), reason)


def tell(config: Path | None, act: Callable[[Session], Awaitable[_T]]) -> _T:
    """As `ask`, with the settings of this configuration."""
    return ask(settings_of(config), act)


def ask(settings: Settings, act: Callable[[Session], Awaitable[_T]]) -> _T:
    """What the database answers, or the end of the command with what is wrong."""
    from worker.adapters.postgres.operator.errors import DatabaseFault  # noqa: PLC0415 - as above
    from worker.adapters.postgres.operator.session import operating  # noqa: PLC0415 - as above

    async def asking() -> _T:
        async with operating(settings.current_postgres_dsn) as session:
            return await act(session)

    try:
        return asyncio.run(asking())
    except DatabaseFault as fault:
        raise failure(fault.line, UNAVAILABLE) from None
