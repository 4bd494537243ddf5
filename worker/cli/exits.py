"""Exit codes, and how a command ends with one: in words on standard error, without a traceback."""

from __future__ import annotations

from typing import Final

import typer

PARTLY_FAILED: Final = 1
WRONG_USAGE: Final = 2
UNAVAILABLE: Final = 69
BAD_CONFIGURATION: Final = 78


def failure(message: str, code: int) -> typer.Exit:
    """Print what is wrong and what to do about it, and return the exit to raise."""
    typer.echo(message, err=True)
    return typer.Exit(code)
