"""A queue that is emptied in batches: what gathers while the one before is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from worker.core.batching import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")

MOST_GATHERING_SECONDS: Final = 0.025
_QUIET_TURNS: Final = 3


class BatchQueue(Generic[Item]):
    """Items that wait for one consumer; producers bound how many that can be.

    A batch is taken once three turns of the event loop have added nothing to it. In a process with
    time to spare the next three are such, and take some microseconds: nothing waits for company. A
    process that is short of time has always something to do, and adds more with each turn; then
    larger batches leave it more time, and a batch waits for those turns, 25 ms at most.

    Args:
        most: Size of a full batch.
    """

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most = most
        self._items: deque[tuple[float, Item]] = deque()
        self._some = asyncio.Event()
        self._came = 0

    def put(self, item: Item) -> None:
        """Let this be in one of the next batches."""
        self._items.append((asyncio.get_running_loop().time(), item))
        self._came += 1
        self._some.set()

    async def batch(self) -> list[Item]:
        """The next batch, never empty."""
        while True:
            while not self._items:
                self._some.clear()
                await self._some.wait()
            quiet = 0
            while quiet < _QUIET_TURNS and self._may_gather():
                came = self._came
                await asyncio.sleep(0)
                quiet = quiet + 1 if self._came == came else 0
            if batch := self.take():  # unless all were dropped meanwhile
                return batch

    def drop(self, unwanted: Callable[[Item], bool]) -> int:
        """Forget some of what waits; how many that were."""
        before = len(self._items)
        self._items = deque(entry for entry in self._items if not unwanted(entry[1]))
        return before - len(self._items)

    def take(self) -> list[Item]:
        """A batch of what is there, without waiting; empty if nothing is."""
        size = min(len(self._items), self._most)
        return [self._items.popleft()[1] for _ in range(size)]

    def _may_gather(self) -> bool:
        if not 0 < len(self._items) < self._most:
            return False
        waited = asyncio.get_running_loop().time() - self._items[0][0]
        return waited < MOST_GATHERING_SECONDS
