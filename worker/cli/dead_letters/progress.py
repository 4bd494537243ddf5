"""How far it is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINE_SECONDS: Final = 5.0


@contextmanager
def progress(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Something to be told how many are done, until the block ends."""
    if sys.stderr.isatty():
        with _bar(doing, total) as tell:
            yield tell
    else:
        yield _lines(doing, total)


def _lines(doing: str, total: int) -> Callable[[int], None]:
    due = time.monotonic() + _LINE_SECONDS

    def tell(done: int) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + _LINE_SECONDS
            typer.echo(f"{doing} {done} of {total}", err=True)

    return tell


@contextmanager
def _bar(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (doing, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda done: bar.update(task, completed=done)
