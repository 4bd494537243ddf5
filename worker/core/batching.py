"""How large batches are, and when they are sent. The clock is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")


@dataclass(slots=True)
class Arrivals:
    """The recent arrival rate of rows, from a count that decays exponentially.

    Attributes:
        memory_seconds: Time in which the weight of the past falls to 1/e.
        count: The decayed count at the time `at`.
    """

    memory_seconds: float = 0.25
    count: float = 0.0
    at: float = 0.0

    def note(self, now: float) -> None:
        """Count one arrival."""
        self.count = self._decayed(now) + 1
        self.at = now

    def rate(self, now: float) -> float:
        """Rows a second."""
        return self._decayed(now) / self.memory_seconds

    def _decayed(self, now: float) -> float:
        return self.count * math.exp(-max(0.0, now - self.at) / self.memory_seconds)


@dataclass(frozen=True, slots=True)
class Linger:
    """Waits for a fuller batch only if enough rows can be expected: an idle worker never waits.

    Attributes:
        rows: Size of a full batch.
        seconds: The longest that the oldest row of a batch waits for others.
        worthwhile_rows: The least number of rows expected within that time that is worth a wait.
    """

    rows: int
    seconds: float
    worthwhile_rows: float

    def wait(self, *, waiting: int, rate: float, oldest_seconds: float) -> float:
        """Seconds to wait before the batch is sent; 0 for now.

        Args:
            waiting: Number of waiting rows.
            rate: Recent arrivals, in rows a second.
            oldest_seconds: How long the oldest row has waited.
        """
        if waiting >= self.rows or rate * self.seconds < self.worthwhile_rows:
            return 0.0
        return max(0.0, self.seconds - oldest_seconds)


OUTCOMES: Final = Linger(rows=200, seconds=0.025, worthwhile_rows=4)
RECALLS: Final = Linger(rows=200, seconds=0.025, worthwhile_rows=4)


MOST_BATCH_BYTES: Final = 1024 * 1024
"""Most bytes of messages that one transaction seals or one batch publishes: on its way to a server
each message is in memory several times."""


def portions(
    items: Sequence[Item], size: Callable[[Item], int], most: int = MOST_BATCH_BYTES
) -> Iterator[list[Item]]:
    """Splits items, in order, into batches of at most `most`; a larger item is a batch alone."""
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
    """Splits a batch in two, to find a bad row among n in about log2(n) steps."""
    middle = len(items) // 2
    return items[:middle], items[middle:]
