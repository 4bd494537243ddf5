"""Where tokens wait for their call: a line for each lane."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worker.core.records import NOBODY, Lane
from worker.core.token.lanes import LaneChooser
from worker.core.token.turns import Turns
from worker.runtime.token.in_flight import InFlightToken, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _never(_: InFlightToken) -> bool:
    return False


class WaitingRoom:
    """A line of tokens for each lane; in the live one origins have turns.

    Tokens that left meanwhile stay in their line until their turn, and are dropped then.

    Args:
        settle_if_expired: Settles a token whose turn has come and that needs no call any more, and
            says whether it did; such a token leaves and uses up no turn.
    """

    def __init__(self, settle_if_expired: Callable[[InFlightToken], bool] = _never) -> None:
        self._settle_if_expired = settle_if_expired
        self._lines: dict[Lane, Turns[InFlightToken]] = {lane: Turns() for lane in Lane}
        self._chooser = LaneChooser()
        self._someone = asyncio.Event()

    def join(self, token: InFlightToken, *, first: bool = False) -> None:
        """Add a token to its line; first in it for a call that is made again."""
        line = self._entered(token)
        if first:
            line.join_first(token)
        else:
            line.join(token, token.origin)
        self._someone.set()

    def rejoin(self, token: InFlightToken) -> None:
        """Add a token before all that were delivered later."""
        self._entered(token).rejoin(token, token.origin, lambda other: _later(other, token))
        self._someone.set()

    def _entered(self, token: InFlightToken) -> Turns[InFlightToken]:
        lane = token.lane
        token.stage = Stage.WAITING
        token.line = lane
        token.origin = token.leader.submission.origin if lane is Lane.LIVE else NOBODY
        return self._lines[lane]

    def join_later(self, token: InFlightToken, seconds: float) -> None:
        """Add a token to its line as the first, after a time, if it has not left by then."""
        token.stage = Stage.WAITING
        token.line = None
        asyncio.get_running_loop().call_later(seconds, self._join_now, token)

    def _join_now(self, token: InFlightToken) -> None:
        if token.waiters:
            self.join(token, first=True)

    def promote(self, token: InFlightToken) -> None:
        """Move a token to the live line, for which a buyer has begun to wait."""
        if token.line not in {None, Lane.LIVE} and token.lane is Lane.LIVE:
            self.leave(token)
            self.join(token)

    def waiting_in(self, lane: Lane) -> Iterator[InFlightToken]:
        """Those in a line, each origin's in their order; none may join or leave meanwhile."""
        return (token for token in self._lines[lane] if token.waiters and token.line is lane)

    def leave(self, token: InFlightToken) -> None:
        """Remove a token from its line."""
        if token.line is not None:
            self._lines[token.line].leave(token, token.origin)
            token.line = None

    async def wait(self) -> None:
        """Wait until a token waits."""
        while not self._drop_departed():
            self._someone.clear()
            await self._someone.wait()

    def next(self) -> InFlightToken | None:
        """The token whose turn it is, or None if all have left."""
        lane = self._chooser.choose(self._drop_departed())
        if lane is None:
            return None
        token = self._lines[lane].take()
        token.line = None
        return token

    def _drop_departed(self) -> list[Lane]:
        """Drop from the heads of all lines who left or is settled; the lanes with others."""
        return [lane for lane, line in self._lines.items() if self._someone_in(lane, line)]

    def _someone_in(self, lane: Lane, line: Turns[InFlightToken]) -> bool:
        """Whether somebody is left in a line once who has departed is dropped from its head."""
        while (first := line.first()) is not None:
            if first.waiters and first.line is lane and not self._settle_if_expired(first):
                return True
            if first.line is lane:
                first.line = None
            line.drop_first()
        return False


def _later(one: InFlightToken, other: InFlightToken) -> bool:
    return bool(one.waiters) and one.arrived > other.arrived
