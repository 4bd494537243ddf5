"""How much to do at once, and when. The clock is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")


@dataclass(slots=True)
class Arrivals:
    """How many rows a second have come of late: a count that decays exponentially.

    Attributes:
        memory_seconds: Time in which the past loses all but 1/e of its weight.
        count: The decayed count at the time `at`.
    """

    memory_seconds: float = 0.25
    count: float = 0.0
    at: float = 0.0

    def note(self, now: float) -> None:
        """One more has come."""
        self.count = self._decayed(now) + 1
        self.at = now

    def rate(self, now: float) -> float:
        """Rows a second."""
        return self._decayed(now) / self.memory_seconds

    def _decayed(self, now: float) -> float:
        return self.count * math.exp(-max(0.0, now - self.at) / self.memory_seconds)


@dataclass(frozen=True, slots=True)
class Linger:
    """Waits for a fuller batch only where that pays: an idle worker never waits.

    Attributes:
        rows: A batch of so many is full.
        seconds: The longest that the oldest of a batch waits for company.
        worthwhile_rows: Company that must be expected within that time to wait for it.
    """

    rows: int
    seconds: float
    worthwhile_rows: float

    def wait(self, *, waiting: int, rate: float, oldest_seconds: float) -> float:
        """Seconds to wait before the batch goes: 0 for now.

        Args:
            waiting: Rows that wait.
            rate: Rows a second that have come of late.
            oldest_seconds: How long the oldest of the rows has waited.
        """
        if waiting >= self.rows or rate * self.seconds < self.worthwhile_rows:
            return 0.0
        return max(0.0, self.seconds - oldest_seconds)


OUTCOMES: Final = Linger(rows=200, seconds=0.025, worthwhile_rows=4)
RECALLS: Final = Linger(rows=200, seconds=0.025, worthwhile_rows=4)


MOST_BATCH_BYTES: Final = 1024 * 1024
"""Of the messages that one transaction seals, or one batch publishes: on its way to a server each
is in memory several times over."""


def portions(
    items: Sequence[Item], size: Callable[[Item], int], most: int = MOST_BATCH_BYTES
) -> Iterator[list[Item]]:
    """Items in their order, as few batches as keep to a size; one that alone is larger is alone."""
    portion: list[Item] = []
    total = 0
    for item in items:
        total += size(item)
        if portion and total > most:
            yield portion
            portion, total = [], size(item)
        portion.append(item)
    if portion:
        yield portion


def halves(items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    """A batch in two, to find a poison row among n in about log2(n) steps."""
    middle = len(items) // 2
    return items[:middle], items[middle:]
