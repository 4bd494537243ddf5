"""Reads the settings for a command, and ends the command where they are wrong."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from worker.app.hidden import hide_credentials
from worker.cli.exits import BAD_CONFIGURATION, failure

if TYPE_CHECKING:
    from pathlib import Path

    from worker.settings import Settings


def settings_of(config: Path | None) -> Settings:
    """Return the settings, or end the command with everything that is wrong with them.

    Notes about them, now or when secrets are read again, go to standard error.
    """
    import structlog  # noqa: PLC0415 - slow, and not for `--help`

    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    settings = loaded(config)
    if settings.passed_over:
        typer.echo(settings.passed_over, err=True)
    return settings


def loaded(config: Path | None) -> Settings:
    """Return the settings as `settings_of` does, for a command that sets up a log of its own."""
    from worker.settings import SettingsError, load  # noqa: PLC0415 - slow, and not for `--help`

    try:
        settings = load(config=config)
    except SettingsError as error:
        raise failure(str(error), BAD_CONFIGURATION) from error
    hide_credentials(settings)
    return settings
