"""What may be on its way to the broker at once, in messages and in bytes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worker.core.batching import MOST_BATCH_BYTES, portions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worker.core.token.outgoing import Outgoing

MOST_BYTES: Final = 4 * MOST_BATCH_BYTES
"""Of bodies: what a slow broker has not read yet stands in the connection's buffers."""


class Window:
    """Counts what is not confirmed yet, and lets more follow once there is room.

    Args:
        most: Messages at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._messages = 0
        self._bytes = 0
        self._freed = asyncio.Event()

    def __len__(self) -> int:
        """How many messages that is."""
        return self._messages

    async def room(self, batch: Sequence[Outgoing], is_closed: Callable[[], bool]) -> bool:
        """Wait until a batch may follow; False if nothing can any more."""
        size = sum(map(_body_bytes, batch))
        while self._messages and (
            self._messages + len(batch) > self._most or self._bytes + size > MOST_BYTES
        ):
            if is_closed():
                return False
            self._freed.clear()
            await self._freed.wait()
        return not is_closed()

    def enter(self, message: Outgoing) -> None:
        """A message is on its way."""
        self._messages += 1
        self._bytes += len(message.body)

    def leave(self, message: Outgoing) -> None:
        """It is confirmed, or nobody waits for that any more."""
        self._messages -= 1
        self._bytes -= len(message.body)
        self._freed.set()

    def wake(self) -> None:
        """Let those who wait look anew."""
        self._freed.set()


def batches(messages: Sequence[Outgoing], most: int) -> Iterator[list[Outgoing]]:
    """Messages in their order, so many at once, and no more than are to be copied at once."""
    for start in range(0, len(messages), most):
        yield from portions(messages[start : start + most], _body_bytes)


def _body_bytes(message: Outgoing) -> int:
    return len(message.body)
