"""`pause` and `resume`, and what all commands share that change how the replicas call AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

import typer

from worker.adapters.postgres.rate import control
from worker.adapters.postgres.rate.control import AuditContext
from worker.cli import fleet_lines
from worker.cli.actor import actor as actor_of
from worker.cli.database import ask
from worker.cli.options import ActorOption, ConfigOption
from worker.cli.settings import settings_of
from worker.core.durations import parse
from worker.core.records import DEFAULT_SELLER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from worker.adapters.postgres.sessions import Session

_T = TypeVar("_T")

_MOST_CHARS: Final = 500
_SHORTEST: Final = parse("1s")
_LONGEST: Final = parse("7d")
WITHIN: Final = "; it takes effect on all replicas within two seconds"
_UNCHANGED: Final = "; that pause stays as it is: run `resume` before you begin another"


def checked_reason(given: str | None) -> str | None:
    """Return a reason on one line, or end the command with what is wrong with it."""
    if given is None:
        return None
    reason = " ".join(given.split())
    if not reason:
        raise typer.BadParameter("is empty: give the reason, for whoever looks into this later")
    if not reason.isprintable():
        raise typer.BadParameter("contains control characters")
    if len(reason) > _MOST_CHARS:
        raise typer.BadParameter(f"has {len(reason)} characters; at most {_MOST_CHARS} are allowed")
    return reason


_Reason: TypeAlias = Annotated[
    str,
    typer.Option(metavar="TEXT", callback=checked_reason, help="Why, for the audit."),
]


def _seconds(given: str) -> float:
    """Return the seconds of a duration, or end the command with what is wrong with it."""
    try:
        span = parse(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not _SHORTEST <= span <= _LONGEST:
        raise typer.BadParameter(f"is {span}: {_SHORTEST} to {_LONGEST} is allowed")
    return span.seconds


_Seconds: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        parser=_seconds,
        help="End the pause by itself after this time, such as 30m or 1h30m.",
    ),
]


def pause(
    reason: _Reason,
    *,
    seconds: _Seconds = None,
    actor: ActorOption = None,
    config: ConfigOption = None,
) -> None:
    """Stops the calls of all replicas within two seconds; survives restarts.

    It lasts until `resume`, or with --for until that time is over. Nothing is lost: tokens wait in
    their queues. If calls are paused already, that pause stays as it is, with its actor, its reason
    and its end. Web tiers are told the reason too.
    """
    context = audit_context(actor, reason)
    paused, new = change(config, lambda session: control.pause(session, context, seconds))
    by = fleet_lines.pause_given(paused)
    told = f"paused by {by}{WITHIN}" if new else f"already paused by {by}{_UNCHANGED}"
    typer.echo(told, err=True)


def resume(reason: _Reason, actor: ActorOption = None, config: ConfigOption = None) -> None:
    """Lets the calls of all replicas go on within two seconds."""
    context = audit_context(actor, reason)
    ended = change(config, lambda session: control.resume(session, context))
    if ended is None:
        typer.echo("calls were not paused", err=True)
        return
    by = fleet_lines.pause_given(ended)
    typer.echo(f"resumed; calls were paused by {by}{WITHIN}", err=True)


# --- changing what the replicas share ---


def audit_context(actor: str | None, reason: str) -> AuditContext:
    """Return who acts and why, for the one seller account that there is."""
    return AuditContext(DEFAULT_SELLER, actor_of(actor), reason)


def change(config: Path | None, act: Callable[[Session], Awaitable[_T]]) -> _T:
    """Return what the database answers, with the settings of this configuration."""
    return ask(settings_of(config), act)
