"""`migrate`: brings the database schema up to date."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.adapters.postgres import migrate as migrations
from worker.adapters.postgres.migrate import LATEST
from worker.adapters.postgres.operator.errors import told
from worker.app.retention import configured, days
from worker.cli.exits import PARTLY_FAILED, UNAVAILABLE, failure
from worker.cli.options import ConfigOption, JsonOption
from worker.cli.printing import print_json
from worker.cli.settings import settings_of
from worker.core.exceptions import LedgerUnavailable, RowsRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.adapters.postgres.migrate import Applied


def migrate(
    config: ConfigOption = None,
    *,
    stand_in: Annotated[
        bool,
        typer.Option("--stand-in", help="Mark an empty schema as a playground, permanently."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Brings the database schema up to date; safe to run twice or at once.

    How long rows are kept is stored in the database: those of the settings WORKER_RETENTION__…
    that are given are written there, the others stay as they are.

    With a simulator in place of AWS, over an unencrypted connection, workers accept only a database
    marked as a playground: customers may be made up there.
    """
    settings = settings_of(config)
    periods = configured(settings)
    applied = _apply(settings.current_postgres_admin_dsn, stand_in=stand_in, periods=periods)
    if periods:
        written = ", ".join(f"{name} {days(seconds)}" for name, seconds in periods.items())
        typer.echo(f"how long rows are kept: {written}", err=True)
    if json:
        print_json(applied)
    _print_state(applied)


def _apply(
    dsn: Callable[[], str], *, stand_in: bool, periods: Mapping[str, float | None]
) -> list[Applied]:
    try:
        done = migrations.migrate(
            dsn, stand_in=stand_in, periods=periods, on_applied=_print_applied
        )
        applied = asyncio.run(done)
    except LedgerUnavailable as error:
        raise failure(told(str(error)), UNAVAILABLE) from error
    except (migrations.MigrationRefused, RowsRefused) as error:
        raise failure(str(error), PARTLY_FAILED) from error
    if stand_in:
        typer.echo("the schema is marked as a playground, for a simulator", err=True)
    return applied


def _print_applied(step: Applied) -> None:
    typer.echo(f"applied {step.version:04}_{step.name}", err=True)


def _print_state(applied: Sequence[Applied]) -> None:
    newest = applied[-1].version
    typer.echo(f"schema is up to date (version {newest})", err=True)
    if newest > LATEST:
        typer.echo(f"it is newer than this program, which knows versions up to {LATEST}", err=True)
