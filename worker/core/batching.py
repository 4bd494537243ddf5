"""How much to write at once, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Linger:
    """Waits for a fuller batch only while there is something to wait for.

    Attributes:
        rows: A batch of so many is full.
        seconds: The longest that the oldest of a batch waits for company.
    """

    rows: int
    seconds: float

    def wait(self, *, waiting: int, coming: int, oldest_seconds: float) -> float:
        """Seconds to wait before writing: 0 for now.

        Args:
            waiting: Rows that wait to be written.
            coming: Calls in flight, each of which may bring another row.
            oldest_seconds: How long the oldest of the rows has waited.
        """
        if coming == 0 or waiting >= self.rows:
            return 0.0
        return max(0.0, self.seconds - oldest_seconds)


OUTCOMES: Final = Linger(rows=200, seconds=0.01)


def halves(items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    """A batch in two, to find a poison row among n in about log2(n) steps."""
    middle = len(items) // 2
    return items[:middle], items[middle:]
