"""Where flights wait for their call: a line for each lane."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worker.core.records import NOBODY, Lane
from worker.core.token.lanes import LaneChooser
from worker.core.token.turns import Turns
from worker.runtime.token.in_flight import Flight, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _nobody(_: Flight) -> bool:
    return False


class WaitingRoom:
    """A line of flights for each lane. A flight that left in the meantime is passed over.

    In the live one origins have turns. Whoever waits for a turn, or takes one, may say who needs
    none any more: those are shown to it when their turn comes, leave, and use up none.
    """

    def __init__(self) -> None:
        self._lines: dict[Lane, Turns[Flight]] = {lane: Turns() for lane in Lane}
        self._chooser = LaneChooser()
        self._someone = asyncio.Event()

    def join(self, flight: Flight, *, first: bool = False) -> None:
        """Stand in line; first in it for a call that is made again."""
        line = self._stand(flight)
        if first:
            line.join_first(flight)
        else:
            line.join(flight, flight.origin)
        self._someone.set()

    def rejoin(self, flight: Flight) -> None:
        """Stand in line before all who were delivered later."""
        self._stand(flight).rejoin(flight, flight.origin, lambda other: _later(other, flight))
        self._someone.set()

    def _stand(self, flight: Flight) -> Turns[Flight]:
        lane = flight.lane
        flight.stage = Stage.WAITING
        flight.line = lane
        flight.origin = flight.leader.submission.origin if lane is Lane.LIVE else NOBODY
        return self._lines[lane]

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
        if flight.line not in {None, Lane.LIVE} and flight.lane is Lane.LIVE:
            self.leave(flight)
            self.join(flight)

    def standing(self, lane: Lane) -> Iterator[Flight]:
        """Those in a line, each origin's in their order; none may join or leave meanwhile."""
        return (flight for flight in self._lines[lane] if flight.parties and flight.line is lane)

    def leave(self, flight: Flight) -> None:
        """Stand in line no more."""
        if flight.line is not None:
            self._lines[flight.line].leave(flight, flight.origin)
            flight.line = None

    async def wait(self, over: Callable[[Flight], bool] = _nobody) -> None:
        """Wait until somebody stands in line.

        Args:
            over: Takes a flight that needs no turn any more, and says whether it did.
        """
        while not self._occupied(over):
            self._someone.clear()
            await self._someone.wait()

    def next(self, over: Callable[[Flight], bool] = _nobody) -> Flight | None:
        """The flight whose turn it is, or None if all have left; `over` as in `wait`."""
        lane = self._chooser.choose(self._occupied(over))
        if lane is None:
            return None
        flight = self._lines[lane].take()
        flight.line = None
        return flight

    def _occupied(self, over: Callable[[Flight], bool]) -> list[Lane]:
        """Lanes in which somebody waits; who has left any is let go of."""
        return [lane for lane in Lane if self._prune(lane, over)]

    def _prune(self, lane: Lane, over: Callable[[Flight], bool]) -> bool:
        """Whether it is the turn of somebody who has neither left nor changed lines."""
        line = self._lines[lane]
        while (first := line.first()) is not None:
            if first.parties and first.line is lane and not over(first):
                return True
            if first.line is lane:
                first.line = None
            line.drop_first()
        return False


def _later(one: Flight, other: Flight) -> bool:
    return bool(one.parties) and one.arrived > other.arrived


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
