"""Exit codes, and how a command ends with one: in words on standard error, without a traceback."""

from __future__ import annotations

import sys
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
    """The settings, or the end of the command with all their faults at once.

    What is noted about them, now or when secrets are read again, goes to standard error.
    """
    import structlog  # noqa: PLC0415 - keeps --help fast

    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    settings = loaded(config)
    if settings.passed_over:
        typer.echo(settings.passed_over, err=True)
    return settings


def loaded(config: Path | None) -> Settings:
    """As `settings_of`, for who sets up a log and notes there what there is to be noted."""
    from worker.settings import SettingsError, load  # noqa: PLC0415 - as above

    try:
        return load(config=config)
    except SettingsError as error:
        raise failure(str(error), BAD_CONFIGURATION) from error
