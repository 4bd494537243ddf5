"""How dead letters are put into words: times, spans, texts from outside, lines that fit."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_NARROWEST: Final = 40


def span(seconds: float) -> str:
    """A length of time: `45 s`, `17 min`, `3 h 12 min`, `2 d 4 h`. Never more than there is."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return _two(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _two(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _two(large: int, unit: str, small: int, lesser: str) -> str:
    return f"{large} {unit} {small} {lesser}" if small else f"{large} {unit}"


def instant(at: datetime) -> str:
    """An instant in UTC, to the second: `2026-11-22 03:28:00`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def counted(count: int, what: str) -> str:
    """`1 letter`, `200 letters`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def redeemable(count: int, first_expiry: datetime | None, now: datetime) -> str:
    """How many can be saved and how long: `41 redeemable, first expires in 17 min`."""
    if first_expiry is None:
        return f"{count} redeemable"
    return f"{count} redeemable, first expires in {span((first_expiry - now).total_seconds())}"


def left(until: datetime | None, now: datetime) -> str:
    """For how long a token can still be redeemed; `no` once it can't."""
    return span((until - now).total_seconds()) if until is not None and until > now else "no"


def printable(text: str) -> str:
    """A text from outside that can do nothing to a terminal, on one line."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def columns() -> int | None:
    """How wide the terminal is; None where standard output is none, and nothing is to be cut."""
    if not sys.stdout.isatty():
        return None
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def shortened(text: str, width: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def wrapped(text: str, indent: str = "", hanging: str | None = None) -> Iterator[str]:
    """The lines of a paragraph: as wide as the terminal, one line where there is none.

    Args:
        text: What is to be said.
        indent: Before the first line.
        hanging: Before the others; as the first unless given.
    """
    width = columns()
    if width is None:
        yield indent + text
        return
    hanging = indent if hanging is None else hanging
    yield from textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=hanging) or [
        indent.rstrip()
    ]


def bold(text: str) -> str:
    """Emphasised on a terminal."""
    plain = "NO_COLOR" in os.environ or not sys.stdout.isatty()
    return text if plain else typer.style(text, bold=True)
