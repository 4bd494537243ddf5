"""Exit codes, and how a command ends with one: in words on standard error, without a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from worker.settings import Settings

PARTLY_FAILED: Final = 1
UNAVAILABLE: Final = 69
BAD_CONFIGURATION: Final = 78


def failure(message: str, code: int) -> typer.Exit:
    """Say what is wrong and what to do, and give the exit to raise."""
    typer.echo(message, err=True)
    return typer.Exit(code)


def settings_of(config: Path | None) -> Settings:
    """The settings, or the end of the command with all their faults at once."""
    from worker.settings import SettingsError, load  # noqa: PLC0415 - keeps --help fast

    try:
        return load(config=config)
    except SettingsError as error:
        raise failure(str(error), BAD_CONFIGURATION) from error
