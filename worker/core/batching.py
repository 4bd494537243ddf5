"""How large batches are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")


MOST_ROWS: Final = 200
"""Of one look-up or one transaction."""

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
