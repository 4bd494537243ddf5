"""`rate`: the rate that all replicas share, and the bound that operators set for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer
from pydantic import ValidationError

from worker.adapters.postgres.rate import control
from worker.adapters.postgres.rate.status import standing
from worker.app import fleet
from worker.cli import fleet_lines
from worker.cli.control import (
    HEARD,
    ActorOption,
    ask,
    checked_reason,
    tell,
    word_of,
)
from worker.cli.settings import ConfigOption, settings_of
from worker.core.records import DEFAULT_SELLER
from worker.settings.leaves import LEAVES
from worker.settings.model import Rate

if TYPE_CHECKING:
    from pathlib import Path

    from worker.adapters.postgres.rate.control import AuditContext
    from worker.adapters.postgres.rate.status import Override, Standing
    from worker.adapters.postgres.sessions import Session
    from worker.settings import Settings

_NONE: Final = "none"
_DEFAULT: Final = "default"


def rate(
    ceiling: Annotated[
        str | None,
        typer.Argument(
            metavar="CALLS_PER_SECOND|none|default",
            help="The most calls a second, all replicas together, whatever their settings say; "
            "none for no bound, default for the settings again. Without it the rate is shown.",
            show_default=False,
        ),
    ] = None,
    *,
    search_again: Annotated[
        bool,
        typer.Option(
            "--search-again",
            help="Double the rate from where it is until AWS throttles, as at the first start: "
            "for when AWS has raised the quota.",
        ),
    ] = False,
    reason: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            callback=checked_reason,
            help="Why, for the audit and others; needed to change anything.",
        ),
    ] = None,
    actor: ActorOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    config: ConfigOption = None,
) -> None:
    """Shows the rate that all replicas share and its ceiling, or changes the ceiling.

    A ceiling that is set here counts on all replicas within two seconds, stands in place of
    WORKER_RATE__CEILING, higher or lower, and survives restarts.
    """
    if ceiling is not None and search_again:
        raise typer.BadParameter("--search-again goes without a ceiling: give two commands")
    if ceiling is None and not search_again:
        _show(settings_of(config), json=json)
        return
    if reason is None:
        raise typer.BadParameter("--reason says why, and is needed to change anything")
    if ceiling is None:
        _search(word_of(actor, reason), config)
    else:
        _bound(ceiling, word_of(actor, reason), config)
    if json:
        _show(settings_of(config), json=True)


def _bound(given: str, context: AuditContext, config: Path | None) -> None:
    if given == _DEFAULT:
        before = tell(config, lambda session: control.reset_ceiling(session, context))
        now = "the replicas' settings bound the rate"
    else:
        ceiling = None if given == _NONE else _calls_per_second(given)
        before = tell(config, lambda session: control.set_ceiling(session, context, ceiling))
        now = "nothing bounds the rate" if ceiling is None else f"the ceiling is {ceiling:g}/s"
    typer.echo(f"{now}{_before(before)}{HEARD}", err=True)


def _before(stood: Override | None) -> str:
    if stood is None:
        return ""
    bound = "none" if stood.ceiling is None else f"{stood.ceiling:g}/s"
    told = fleet_lines.given(stood.actor, stood.reason, stood.since)
    return f"; before it was {bound}, set by {told}"


def _calls_per_second(given: str) -> float:
    try:
        ceiling = Rate.model_validate({"ceiling": given}).ceiling
    except ValidationError:
        ceiling = None
    if ceiling is None:
        accepts = LEAVES["rate", "ceiling"].accepts
        raise typer.BadParameter(f"CALLS_PER_SECOND is none of: {accepts}, {_NONE}, {_DEFAULT}")
    return ceiling


def _search(context: AuditContext, config: Path | None) -> None:
    start = tell(config, lambda session: control.search_again(session, context))
    if start is None:
        typer.echo("no replica has asked for a rate yet: the first will search anyway", err=True)
    else:
        typer.echo(f"searching again, from {start:.4g}/s{HEARD}", err=True)


# --- showing ---


def _show(settings: Settings, *, json: bool) -> None:
    standing = ask(settings, _standing)
    found = fleet.rate(standing, settings.rate.ceiling)
    if json:
        _print_json(found, standing)
        return
    shared = fleet_lines.shared(found, live=bool(standing.members))
    typer.echo(f"rate    {shared}  ({fleet_lines.ceiling(found)})")
    typer.echo(f"paused  {fleet_lines.paused(standing.pause)}")
    typer.echo(f"shares  {fleet_lines.shares(standing.members)}")
    for line in fleet_lines.table(standing.members):
        typer.echo(line)


def _print_json(found: object, standing: Standing) -> None:
    told = {"rate": found, "pause": standing.pause, "shares": standing.members}
    typer.echo(orjson.dumps(told).decode())


async def _standing(session: Session) -> Standing:
    return await standing(session.fetch, DEFAULT_SELLER)
