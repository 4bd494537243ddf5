"""Turns in the live lane: first between callers, then between the sources of each.

A caller is a user of the broker's, which the broker checks; a source is whom a web tier names as
having brought a token to it. Without turns who sends the most is served the most: a stranger
with a script would use up the rate, and buyers would wait behind the script.

Turns help those who are in hand. For those behind, what one origin has in hand beyond some seconds
of the rate is *surplus*, and goes to a lane of its own, so that others come to be in hand at all.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from worker.core.records import Lane, Origin
from worker.core.token.prefetch import MOST_PREFETCHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")

_TURN_SECONDS: Final = 2.0
_LEAST: Final = 5
_MOST: Final = MOST_PREFETCHED[Lane.LIVE] // 4
_RECENT_SECONDS: Final = 60.0


class Turns(Generic[Item]):
    """A line in which origins have turns, and those of one origin their order.

    It keeps nothing of an origin without tokens.
    """

    def __init__(self) -> None:
        self._first: deque[Item] = deque()
        self._callers: OrderedDict[str, OrderedDict[str, deque[Item]]] = OrderedDict()

    def __iter__(self) -> Iterator[Item]:
        yield from self._first
        for sources in self._callers.values():
            for line in sources.values():
                yield from line

    def join(self, item: Item, origin: Origin) -> None:
        """Add a token at the end of its origin's line."""
        self._line(origin).append(item)

    def join_first(self, item: Item) -> None:
        """Add a token before all others."""
        self._first.appendleft(item)

    def rejoin(self, item: Item, origin: Origin, is_later: Callable[[Item], bool]) -> None:
        """Add a token to its origin's line, before all that are later."""
        line = self._line(origin)
        line.insert(next((at for at, other in enumerate(line) if is_later(other)), len(line)), item)

    def leave(self, item: Item, origin: Origin) -> None:
        """Remove a token."""
        if item in self._first:
            self._first.remove(item)
            return
        line = self._line(origin)
        line.remove(item)
        self._forget(origin, line)

    def first(self) -> Item | None:
        """The token whose turn it is, or None without any."""
        if self._first:
            return self._first[0]
        for sources in self._callers.values():
            for line in sources.values():
                return line[0]
        return None

    def drop_first(self) -> None:
        """Whoever's turn it is has left, and uses up none."""
        if self._first:
            self._first.popleft()
            return
        caller, sources = next(iter(self._callers.items()))
        source, line = next(iter(sources.items()))
        line.popleft()
        self._forget(Origin(caller, source), line)

    def take(self) -> Item:
        """Take the token whose turn it is; next comes another caller, and another source."""
        if self._first:
            return self._first.popleft()
        caller, sources = next(iter(self._callers.items()))
        source, line = next(iter(sources.items()))
        item = line.popleft()
        sources.move_to_end(source)
        self._callers.move_to_end(caller)
        self._forget(Origin(caller, source), line)
        return item

    def _line(self, origin: Origin) -> deque[Item]:
        sources = self._callers.setdefault(origin.caller, OrderedDict())
        return sources.setdefault(origin.source, deque())

    def _forget(self, origin: Origin, line: deque[Item]) -> None:
        if line:
            return
        sources = self._callers[origin.caller]
        del sources[origin.source]
        if not sources:
            del self._callers[origin.caller]


def in_hand_at_most(rate: float) -> int:
    """How many tokens of one origin may wait in hand at so many calls a second.

    Never so many that a few origins fill the whole prefetch, and nobody else comes to be in hand.
    """
    return min(_MOST, max(_LEAST, math.ceil(rate * _TURN_SECONDS)))


class Company:
    """Whether an origin is not alone: others were seen lately, who would wait behind it."""

    def __init__(self) -> None:
        self._latest: tuple[Origin | None, float] = (None, -math.inf)
        self._before: tuple[Origin | None, float] = (None, -math.inf)

    def seen(self, origin: Origin, now: float) -> None:
        """A token of this origin has come."""
        if origin != self._latest[0]:
            self._before = self._latest
        self._latest = (origin, now)

    def has(self, origin: Origin, now: float) -> bool:
        """Whether somebody else was seen within the last minute.

        Somebody who is named has company for sure: who brought them is told so that others have
        their turns, and those may wait where nobody has seen them yet.
        """
        other = self._before if origin == self._latest[0] else self._latest
        return bool(origin.source) or now - other[1] <= _RECENT_SECONDS
