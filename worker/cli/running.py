"""While a command runs: how far it is, and the first signal stops it in order."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINE_SECONDS: Final = 5.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM; a second one ends the program as usual."""
    loop = asyncio.get_running_loop()

    def restore() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def on_signal() -> None:
        restore()
        stop()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        restore()


@contextmanager
def progress(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far it is: a bar on a terminal, a line every five seconds elsewhere.

    Yields:
        A function to call with how many are done.
    """
    if sys.stderr.isatty():
        from worker.cli.bar import bar  # noqa: PLC0415 - slow to import

        with bar(doing, total) as show:
            yield show
    else:
        yield _lines(doing, total)


def _lines(doing: str, total: int) -> Callable[[int], None]:
    due = time.monotonic() + _LINE_SECONDS

    def show(done: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _LINE_SECONDS
            typer.echo(f"{doing} {done} of {total}", err=True)

    return show
