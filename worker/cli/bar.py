"""A bar on a terminal that shows how far a command is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def bar(
    doing: str, total: float | None, *, is_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error; yields a function to call with how much is done."""
    count = DownloadColumn() if is_bytes else MofNCompleteColumn()
    columns = (doing, BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(doing, total=total)
        yield lambda done: shown.update(task, completed=done)
