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
        flight.line = flight.lane
        line = self._lines[flight.line]
        (line.appendleft if first else line.append)(flight)
        self._someone.set()

    def join_later(self, flight: Flight, seconds: float) -> None:
        """Stand first in line after a time, if the flight has not left by then."""
        flight.stage = Stage.WAITING
        flight.line = None
        asyncio.get_running_loop().call_later(seconds, self._rejoin, flight)

    def _rejoin(self, flight: Flight) -> None:
        if flight.parties:
            self.join(flight, first=True)

    def promote(self, flight: Flight) -> None:
        """Let a flight change lines, for which a buyer has begun to wait."""
        if flight.line is Lane.BACKLOG and flight.lane is Lane.LIVE:
            self.join(flight)

    async def wait(self) -> None:
        """Wait until somebody stands in line."""
        while not self._occupied():
            self._someone.clear()
            await self._someone.wait()

    def next(self) -> Flight | None:
        """The flight whose turn it is, or None if all have left."""
        live, backlog = self._prune(Lane.LIVE), self._prune(Lane.BACKLOG)
        lane = self._chooser.choose(live=live, backlog=backlog)
        if lane is None:
            return None
        flight = self._lines[lane].popleft()
        flight.line = None
        return flight

    def _occupied(self) -> bool:
        return any(self._prune(lane) for lane in Lane)

    def _prune(self, lane: Lane) -> bool:
        """Whether somebody stands first in a line who has neither left nor changed lines."""
        line = self._lines[lane]
        while line and not (line[0].parties and line[0].line is lane):
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
