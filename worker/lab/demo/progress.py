"""What is said while the demo runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

_LINE_SECONDS: Final = 1.0


class Tell(Protocol):
    """Who tells a person how it goes."""

    def say(self, text: str) -> None:
        """Something happened."""
        ...

    def progress(self, published: int, settled: int, total: int) -> None:
        """So many messages were published and settled, of so many."""
        ...


class Plain:
    """Lines, about progress at most one a second and only if something has changed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._told_at = float("-inf")
        self._told: tuple[int, int] | None = None

    def say(self, text: str) -> None:
        """Something happened."""
        elapsed = time.monotonic() - self._began
        print(f"{elapsed:6.1f} s  {text}", file=self._stream, flush=True)

    def progress(self, published: int, settled: int, total: int) -> None:
        """So many messages were published and settled, of so many."""
        now = time.monotonic()
        ended = settled == total
        if (published, settled) == self._told or (
            now < self._told_at + _LINE_SECONDS and not ended
        ):
            return
        self._told, self._told_at = (published, settled), now
        self.say(f"published {published:,}  settled {settled:,}  of {total:,}")


class Bars:
    """Two bars below the lines."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._began = time.monotonic()
        self._tasks: tuple[TaskID, TaskID] | None = None

    def say(self, text: str) -> None:
        """Something happened."""
        elapsed = time.monotonic() - self._began
        self._bars.console.print(f"{elapsed:6.1f} s  {text}", markup=False, highlight=False)

    def progress(self, published: int, settled: int, total: int) -> None:
        """So many messages were published and settled, of so many."""
        if self._tasks is None:
            self._tasks = self._bars.add_task("published"), self._bars.add_task("settled")
        for task, count in zip(self._tasks, (published, settled), strict=True):
            self._bars.update(task, completed=count, total=total)


@contextmanager
def telling(stream: TextIO = sys.stderr) -> Iterator[Tell]:
    """Tell a person on a stream, until the block ends."""
    if not stream.isatty():
        yield Plain(stream)
        return
    console = Console(file=stream)
    columns = (
        TextColumn("{task.description:>9}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield Bars(bars)
