"""`rate`: the rate that all replicas share, and the ceiling that operators set for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from worker.adapters.postgres.rate import control
from worker.adapters.postgres.rate.status import fleet_status
from worker.app import fleet
from worker.cli import fleet_lines
from worker.cli.control import (
    WITHIN,
    audit_context,
    change,
    checked_reason,
)
from worker.cli.database import ask
from worker.cli.options import ActorOption, ConfigOption, JsonOption
from worker.cli.printing import print_json
from worker.cli.settings import settings_of
from worker.core.records import DEFAULT_SELLER

if TYPE_CHECKING:
    from pathlib import Path

    from worker.adapters.postgres.rate.control import AuditContext
    from worker.adapters.postgres.rate.status import FleetStatus, Override
    from worker.adapters.postgres.sessions import Session
    from worker.settings import Settings

_NONE: Final = "none"
_DEFAULT: Final = "default"


_Ceiling: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="CALLS_PER_SECOND|none|default",
        help="The most calls a second of all replicas together, in place of their settings; "
        "`none` for no limit, `default` for the settings again. Without it the rate is shown.",
        show_default=False,
    ),
]
_SearchAgain: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--search-again",
        help="Double the rate from where it is until AWS throttles, as at the first start: "
        "for when AWS has raised the quota.",
    ),
]
_Reason: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        callback=checked_reason,
        help="Why, for the audit; needed to change anything.",
    ),
]


def rate(
    ceiling: _Ceiling = None,
    *,
    search_again: _SearchAgain = False,
    reason: _Reason = None,
    actor: ActorOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Shows the rate that all replicas share and its ceiling, or changes the ceiling.

    A ceiling that is set here takes effect on all replicas within two seconds, replaces
    WORKER_RATE__CEILING, higher or lower, and survives restarts.
    """
    if ceiling is not None and search_again:
        raise typer.BadParameter("--search-again can't be given with a ceiling: run two commands")
    if ceiling is None and not search_again:
        _show(settings_of(config), json=json)
        return
    if reason is None:
        raise typer.BadParameter("--reason is needed to change anything: it says why")
    if ceiling is None:
        _search(audit_context(actor, reason), config)
    else:
        _set_ceiling(ceiling, audit_context(actor, reason), config)
    if json:
        _show(settings_of(config), json=True)


def _set_ceiling(given: str, context: AuditContext, config: Path | None) -> None:
    if given == _DEFAULT:
        before = change(config, lambda session: control.reset_ceiling(session, context))
        now = "the ceiling is that of the replicas' settings"
    else:
        ceiling = None if given == _NONE else _calls_per_second(given)
        before = change(config, lambda session: control.set_ceiling(session, context, ceiling))
        now = "there is no ceiling" if ceiling is None else f"the ceiling is {ceiling:g}/s"
    typer.echo(f"{now}{_before(before)}{WITHIN}", err=True)


def _before(previous: Override | None) -> str:
    if previous is None:
        return ""
    ceiling = "none" if previous.ceiling is None else f"{previous.ceiling:g}/s"
    by = fleet_lines.given(previous.actor, previous.reason, previous.since)
    return f"; before it was {ceiling}, set by {by}"


def _calls_per_second(given: str) -> float:
    from pydantic import ValidationError  # noqa: PLC0415 - slow to import

    from worker.settings.leaves import LEAVES  # noqa: PLC0415 - as above
    from worker.settings.model import Rate  # noqa: PLC0415 - as above

    try:
        ceiling = Rate.model_validate({"ceiling": given}).ceiling
    except ValidationError:
        ceiling = None
    if ceiling is None:
        accepts = LEAVES["rate", "ceiling"].accepts
        raise typer.BadParameter(f"CALLS_PER_SECOND must be one of: {accepts}, {_NONE}, {_DEFAULT}")
    return ceiling


def _search(context: AuditContext, config: Path | None) -> None:
    start = change(config, lambda session: control.search_again(session, context))
    if start is None:
        typer.echo("no replica has asked for a rate yet: the first one searches anyway", err=True)
    else:
        typer.echo(f"searching again, from {start:.4g}/s{WITHIN}", err=True)


# --- showing ---


def _show(settings: Settings, *, json: bool) -> None:
    fleet_status = ask(settings, _fleet_status)
    found = fleet.rate(fleet_status, settings.rate.ceiling)
    if json:
        print_json(
            {
                "rate": found,
                "pause": fleet_status.pause,
                "replicas": len(fleet_status.members),
                "shares": fleet_status.members,
            }
        )
        return
    shared = fleet_lines.shared(found, live=bool(fleet_status.members))
    typer.echo(f"rate      {shared}  ({fleet_lines.ceiling(found)})")
    typer.echo(f"paused    {fleet_lines.paused(fleet_status.pause)}")
    typer.echo(f"replicas  {fleet_lines.replicas(fleet_status.members)}")
    for line in fleet_lines.table(fleet_status.members):
        typer.echo(line)


async def _fleet_status(session: Session) -> FleetStatus:
    return await fleet_status(session.fetch, DEFAULT_SELLER)
