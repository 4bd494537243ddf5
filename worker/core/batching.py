"""How large batches are, and when they are sent. The clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Linger:
    """Waits for a fuller batch only while the process has no time to spare.

    At any other time a batch is what has gathered while the one before was under way. A process
    that is short of time does less for the same rows if they come in fewer batches.

    Attributes:
        rows: Size of a full batch.
        seconds: The longest that the oldest row of a batch waits for others.
        from_load: The load from which on it waits at all.
        full_load: The load from which on it waits for `seconds`. It is less than 1, since a process
            is short of time before that: others want the machine too.
    """

    rows: int
    seconds: float
    from_load: float
    full_load: float

    def wait(self, *, waiting: int, load: float, oldest_seconds: float) -> float:
        """Seconds to wait before the batch is sent; 0 for now.

        Args:
            waiting: Number of waiting rows.
            load: The share of the time in which the process runs, 0 to 1.
            oldest_seconds: How long the oldest row has waited.
        """
        if waiting >= self.rows or load <= self.from_load:
            return 0.0
        share = min(1.0, (load - self.from_load) / (self.full_load - self.from_load))
        return max(0.0, self.seconds * share - oldest_seconds)


BATCHES: Final = Linger(rows=200, seconds=0.025, from_load=0.6, full_load=0.8)
"""Of all that is looked up or written."""


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
