"""A queue that is emptied in batches, which linger for company where that pays."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from worker.core.batching import Arrivals

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.batching import Linger

Item = TypeVar("Item")


class BatchQueue(Generic[Item]):
    """Items that wait for one consumer; producers bound how many that can be.

    Args:
        linger: How large batches get, and how long they wait.
    """

    def __init__(self, linger: Linger) -> None:
        self._linger = linger
        self._arrivals = Arrivals()
        self._items: deque[tuple[float, Item]] = deque()
        self._some = asyncio.Event()
        self._full = asyncio.Event()

    def put(self, item: Item) -> None:
        """Let this be in one of the next batches."""
        now = asyncio.get_running_loop().time()
        self._arrivals.note(now)
        self._items.append((now, item))
        self._some.set()
        if len(self._items) >= self._linger.rows:
            self._full.set()

    async def batch(self) -> list[Item]:
        """The next batch, never empty."""
        while True:
            while not self._items:
                self._some.clear()
                await self._some.wait()
            if seconds := self._wait():
                self._full.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._full.wait()
            if batch := self.take():  # unless all were dropped meanwhile
                return batch

    def drop(self, unwanted: Callable[[Item], bool]) -> int:
        """Forget some of what waits; how many that were."""
        before = len(self._items)
        self._items = deque(entry for entry in self._items if not unwanted(entry[1]))
        return before - len(self._items)

    def take(self) -> list[Item]:
        """A batch of what is there, without waiting; empty if nothing is."""
        size = min(len(self._items), self._linger.rows)
        return [self._items.popleft()[1] for _ in range(size)]

    def _wait(self) -> float:
        now = asyncio.get_running_loop().time()
        return self._linger.wait(
            waiting=len(self._items),
            rate=self._arrivals.rate(now),
            oldest_seconds=now - self._items[0][0],
        )
