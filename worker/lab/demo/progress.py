"""Progress while the demo runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from rich import progress as rich_progress
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE_SECONDS: Final = 1.0


class Progress:
    """Reports what happens, and how many messages were published and settled."""

    def __init__(self, bars: rich_progress.Progress) -> None:
        self._bars = bars
        self._tasks = [bars.add_task(name, visible=False) for name in ("published", "settled")]
        self._began = time.monotonic()
        self._printed_at = float("-inf")
        self._printed: tuple[int, int] | None = None

    def event(self, text: str) -> None:
        """Report that something happened."""
        line = f"{time.monotonic() - self._began:6.1f} s  {text}"
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def counts(self, published: int, settled: int, total: int) -> None:
        """Report the counts; without a terminal at most once a second and only if they changed."""
        if not self._bars.disable:
            for task, count in zip(self._tasks, (published, settled), strict=True):
                self._bars.update(task, completed=count, total=total, visible=True)
            return
        now = time.monotonic()
        due = now >= self._printed_at + _LINE_SECONDS or settled == total
        if due and (published, settled) != self._printed:
            self._printed, self._printed_at = (published, settled), now
            self.event(f"published {published:,}  settled {settled:,}  of {total:,}")


@contextmanager
def reporting(stream: TextIO = sys.stderr) -> Iterator[Progress]:
    """Report on a stream until the block ends."""
    columns = (
        rich_progress.TextColumn("{task.description:>9}"),
        rich_progress.BarColumn(bar_width=40),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
    )
    with rich_progress.Progress(
        *columns, console=Console(file=stream), disable=not stream.isatty()
    ) as bars:
        yield Progress(bars)
