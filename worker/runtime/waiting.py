"""Where flights wait for their call: a line for each lane."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from worker.core.lanes import LaneChooser
from worker.core.records import Lane
from worker.runtime.flight import Flight, Stage

if TYPE_CHECKING:
    from collections.abc import Callable


class WaitingRoom:
    """Two lines of flights. A flight that left in the meantime is passed over."""

    def __init__(self) -> None:
        self._lines: dict[Lane, deque[Flight]] = {lane: deque() for lane in Lane}
        self._chooser = LaneChooser()
        self._someone = asyncio.Event()

    def join(self, flight: Flight, *, first: bool = False) -> None:
        """Stand in line; first in it for a call that is made again."""
        flight.stage = Stage.WAITING
        line = self._lines[flight.lane]
        (line.appendleft if first else line.append)(flight)
        self._someone.set()

    def join_later(self, flight: Flight, seconds: float) -> None:
        """Stand first in line after a time, if the flight has not left by then."""
        flight.stage = Stage.WAITING
        asyncio.get_running_loop().call_later(seconds, self._rejoin, flight)

    def _rejoin(self, flight: Flight) -> None:
        if flight.parties:
            self.join(flight, first=True)

    async def wait(self) -> None:
        """Wait until somebody stands in line."""
        while not self._occupied():
            self._someone.clear()
            await self._someone.wait()

    def next(self) -> Flight | None:
        """The flight whose turn it is, or None if all have left."""
        occupied = {lane: self._prune(line) for lane, line in self._lines.items()}
        lane = self._chooser.choose(live=occupied[Lane.LIVE], backlog=occupied[Lane.BACKLOG])
        return None if lane is None else self._lines[lane].popleft()

    def _occupied(self) -> bool:
        return any(self._prune(line) for line in self._lines.values())

    @staticmethod
    def _prune(line: deque[Flight]) -> bool:
        while line and not line[0].parties:
            line.popleft()
        return bool(line)


class Pending:
    """A count that can be waited for to reach zero."""

    def __init__(self, changed: Callable[[int], None] = lambda _: None) -> None:
        self.count = 0
        self._changed = changed
        self._none = asyncio.Event()
        self._none.set()

    def add(self, change: int) -> None:
        """Count so many more, or fewer."""
        self.count += change
        self._changed(self.count)
        if self.count:
            self._none.clear()
        else:
            self._none.set()

    async def none(self) -> None:
        """Wait until nothing is pending."""
        await self._none.wait()
