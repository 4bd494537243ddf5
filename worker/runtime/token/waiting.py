"""Where in_flight wait for their call: a line for each lane."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worker.core.records import NOBODY, Lane
from worker.core.token.lanes import LaneChooser
from worker.core.token.turns import Turns
from worker.runtime.token.in_flight import InFlightToken, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _nobody(_: InFlightToken) -> bool:
    return False


class WaitingRoom:
    """A line of in_flight for each lane. A token that left in the meantime is passed over.

    In the live one origins have turns. Whoever waits for a turn, or takes one, may say who needs
    none any more: those are shown to it when their turn comes, leave, and use up none.
    """

    def __init__(self) -> None:
        self._lines: dict[Lane, Turns[InFlightToken]] = {lane: Turns() for lane in Lane}
        self._chooser = LaneChooser()
        self._someone = asyncio.Event()

    def join(self, token: InFlightToken, *, first: bool = False) -> None:
        """Stand in line; first in it for a call that is made again."""
        line = self._stand(token)
        if first:
            line.join_first(token)
        else:
            line.join(token, token.origin)
        self._someone.set()

    def rejoin(self, token: InFlightToken) -> None:
        """Stand in line before all who were delivered later."""
        self._stand(token).rejoin(token, token.origin, lambda other: _later(other, token))
        self._someone.set()

    def _stand(self, token: InFlightToken) -> Turns[InFlightToken]:
        lane = token.lane
        token.stage = Stage.WAITING
        token.line = lane
        token.origin = token.leader.submission.origin if lane is Lane.LIVE else NOBODY
        return self._lines[lane]

    def join_later(self, token: InFlightToken, seconds: float) -> None:
        """Stand first in line after a time, if the token has not left by then."""
        token.stage = Stage.WAITING
        token.line = None
        asyncio.get_running_loop().call_later(seconds, self._rejoin, token)

    def _rejoin(self, token: InFlightToken) -> None:
        if token.waiters:
            self.join(token, first=True)

    def promote(self, token: InFlightToken) -> None:
        """Let a token change lines, for which a buyer has begun to wait."""
        if token.line not in {None, Lane.LIVE} and token.lane is Lane.LIVE:
            self.leave(token)
            self.join(token)

    def standing(self, lane: Lane) -> Iterator[InFlightToken]:
        """Those in a line, each origin's in their order; none may join or leave meanwhile."""
        return (token for token in self._lines[lane] if token.waiters and token.line is lane)

    def leave(self, token: InFlightToken) -> None:
        """Stand in line no more."""
        if token.line is not None:
            self._lines[token.line].leave(token, token.origin)
            token.line = None

    async def wait(self, over: Callable[[InFlightToken], bool] = _nobody) -> None:
        """Wait until somebody stands in line.

        Args:
            over: Takes a token that needs no turn any more, and says whether it did.
        """
        while not self._occupied(over):
            self._someone.clear()
            await self._someone.wait()

    def next(self, over: Callable[[InFlightToken], bool] = _nobody) -> InFlightToken | None:
        """The token whose turn it is, or None if all have left; `over` as in `wait`."""
        lane = self._chooser.choose(self._occupied(over))
        if lane is None:
            return None
        token = self._lines[lane].take()
        token.line = None
        return token

    def _occupied(self, over: Callable[[InFlightToken], bool]) -> list[Lane]:
        """Lanes in which somebody waits; who has left any is let go of."""
        return [lane for lane in Lane if self._prune(lane, over)]

    def _prune(self, lane: Lane, over: Callable[[InFlightToken], bool]) -> bool:
        """Whether it is the turn of somebody who has neither left nor changed lines."""
        line = self._lines[lane]
        while (first := line.first()) is not None:
            if first.waiters and first.line is lane and not over(first):
                return True
            if first.line is lane:
                first.line = None
            line.drop_first()
        return False


def _later(one: InFlightToken, other: InFlightToken) -> bool:
    return bool(one.waiters) and one.arrived > other.arrived


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
