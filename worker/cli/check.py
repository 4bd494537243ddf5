"""`check`: what is wrong with a set-up, and how to correct it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import typer

from worker.app import diagnosis
from worker.app.diagnosis.role import ELSEWHERE
from worker.cli.exits import BAD_CONFIGURATION, PARTLY_FAILED, UNAVAILABLE
from worker.cli.options import ConfigOption, JsonOption
from worker.cli.printing import print_json
from worker.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from worker.app.diagnosis import Finding

_WIDTH: Final = 15
_INDENT: Final = " " * 9
_MARKS: Final = {
    "ok": ("ok", typer.colors.GREEN),
    "failed": ("FAIL", typer.colors.RED),
    "skipped": ("skipped", typer.colors.YELLOW),
}


def check(
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Checks what a worker needs, and explains how to correct each failure.

    One line each: configuration, seal key, HTTP port, broker, topology, permissions on the broker,
    database, schema, grants, fleet, AWS credentials, account, endpoint, and one call to AWS with a
    made-up token. What depends on a failed check is skipped. The line of the fleet also shows
    whether calls are paused or stopped, which is not a failure. Changes nothing; shows no secret.

    Exits with 0 if all is well, 78 if the configuration is bad, else 69 if a dependency can't be
    reached or the HTTP port is taken, else 1 if anything else failed.
    """
    findings = _examine(config, _no_line if json else _print_line)
    if json:
        print_json(findings)
    raise typer.Exit(_conclude(findings))


def _examine(config: Path | None, report: Callable[[Finding], None]) -> list[Finding]:
    return asyncio.run(diagnosis.examine(lambda: load(config=config), report))


def _no_line(_: Finding) -> None:
    """Print nothing: with --json all is printed at the end."""


def _print_line(finding: Finding) -> None:
    mark, colour = _MARKS[finding.state]
    lines = finding.detail.splitlines() or [""]
    typer.echo(f"{typer.style(mark.ljust(8), colour)} {finding.check.ljust(_WIDTH)}  {lines[0]}")
    for line in lines[1:]:
        typer.echo(f"{_INDENT}{line}")
    for note in finding.notes:
        typer.echo(f"{_INDENT}- {note}")
    if finding.remedy:
        typer.echo(f"{_INDENT}-> {finding.remedy}")


def _conclude(findings: Sequence[Finding]) -> int:
    """Print in one line how it went, and return the exit code."""
    failed = [finding for finding in findings if finding.state == "failed"]
    skipped = sum(finding.state == "skipped" for finding in findings)
    if not failed:
        elsewhere = sum(ELSEWHERE in finding.detail for finding in findings)
        more = f", as far as this role needs; {elsewhere} checks are for workers: {ELSEWHERE}"
        typer.echo(f"all is well{more if elsewhere else ''}", err=True)
        return 0
    typer.echo(f"{len(failed)} failed, {skipped} skipped", err=True)
    causes = {str(finding.cause) for finding in failed}
    return next((code for cause, code in _CODES if cause in causes), PARTLY_FAILED)


_CODES: Final = (("configuration", BAD_CONFIGURATION), ("unreachable", UNAVAILABLE))
