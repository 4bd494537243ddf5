"""Prints results for programs."""

from __future__ import annotations

import orjson
import typer


def print_json(result: object) -> None:
    """Print a result as one line of JSON on standard output; dates are RFC 3339."""
    typer.echo(orjson.dumps(result).decode())
