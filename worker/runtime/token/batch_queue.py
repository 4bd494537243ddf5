"""A queue that is emptied in batches: what gathers while the one before is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from worker.core.batching import BATCHES

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.batching import Linger

Item = TypeVar("Item")


class BatchQueue(Generic[Item]):
    """Items that wait for a few consumers; producers bound how many that can be.

    Args:
        load: How busy the process is; see `worker.runtime.load`.
        linger: How large batches get, and how long they wait for company under load.
    """

    def __init__(self, load: Callable[[], float], linger: Linger = BATCHES) -> None:
        self._load = load
        self._linger = linger
        self._items: deque[tuple[float, Item]] = deque()
        self._some = asyncio.Event()
        self._full = asyncio.Event()

    def put(self, item: Item) -> None:
        """Let this be in one of the next batches."""
        self._items.append((asyncio.get_running_loop().time(), item))
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
        return self._linger.wait(
            waiting=len(self._items),
            load=self._load(),
            oldest_seconds=asyncio.get_running_loop().time() - self._items[0][0],
        )
