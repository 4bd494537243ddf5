"""Suspected poison: messages that may end whatever process handles them.

The broker counts how often a message came back. By itself that is no evidence: a broker that closes
its connections twice gives everything back twice. A message is suspected only while a process has
died lately, and is then handled with little else at stake: alone at first, then two at once, four,
and so on, for as long as nothing happens. If the process dies, only what it held counts one more;
the next one begins anew with the first of them. So each death halves the company of the message
that causes it, until that message is alone, goes on counting alone, and is parked by the broker.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

DELIVERIES_HEADER: Final = "x-delivery-count"
VAIN_DELIVERIES: Final = 2

Item = TypeVar("Item", bound=Hashable)


def came_back_often(headers: Mapping[str, Any], *, redelivered: bool) -> bool:
    """Whether a message comes for at least the third time.

    Args:
        headers: As delivered; quorum queues count the returns of a message in `x-delivery-count`.
        redelivered: The broker's word that the message was handed out before. Without it the count
            was written by the publisher.
    """
    returns = headers.get(DELIVERIES_HEADER)
    return redelivered and isinstance(returns, int) and returns >= VAIN_DELIVERIES


class Mode(Enum):
    """How a queue's messages are taken.

    NORMAL: As many as are wanted. A suspected one that comes is set aside.
    ISOLATED: No more come. Once all others are settled, those set aside are handled in groups.
    CAUTIOUS: How it begins when a process has died lately, and goes on after ISOLATED: one message
        at a time, twice as many whenever so many were settled, until one comes that is not
        suspected and nothing suspected is in hand.
    """

    CAUTIOUS = auto()
    NORMAL = auto()
    ISOLATED = auto()


class Guard(Generic[Item]):
    """Decides which of the messages in hand are handled now, and how many more may come.

    Args:
        deaths: How many processes have died lately.

    Attributes:
        mode: How messages are taken.
        met: How many suspected messages have come so far.
    """

    def __init__(self, deaths: int) -> None:
        self.mode = Mode.CAUTIOUS if deaths else Mode.NORMAL
        self.met = 0
        self._group = 1
        self._settled = 0
        self._harmless = False
        self._handled: set[Item] = set()
        self._aside: dict[Item, None] = {}
        self._suspected: set[Item] = set()

    def __len__(self) -> int:
        return len(self._handled) + len(self._aside)

    def __contains__(self, item: Item) -> bool:
        return item in self._handled or item in self._aside

    @property
    def held(self) -> tuple[Item, ...]:
        """All that is in hand."""
        return (*self._handled, *self._aside)

    @property
    def suspected(self) -> int:
        """How many messages in hand are suspected."""
        return len(self._suspected)

    def prefetch(self, wanted: int) -> int:
        """How many messages may be in hand, where so many are wanted; 0 to take none."""
        match self.mode:
            case Mode.NORMAL:
                return wanted
            case Mode.CAUTIOUS:
                return min(self._group, wanted)
            case Mode.ISOLATED:
                return 0

    def take(self, item: Item, *, suspect: bool) -> bool:
        """Take a message in hand, and say whether it is to be handled now."""
        if suspect:
            self.met += 1
            self._suspected.add(item)
            if self.mode is not Mode.CAUTIOUS:
                self._aside[item] = None
                return False
        else:
            self._harmless = True
        self._handled.add(item)
        return True

    def let_go(self, item: Item) -> None:
        """A message in hand is settled, or given back."""
        self._suspected.discard(item)
        if item in self._handled:
            self._handled.remove(item)
            self._settled += 1
        else:
            del self._aside[item]

    def step(self, deaths: int) -> list[Item]:
        """Go on, and return what was set aside and is to be handled now.

        Args:
            deaths: How many processes have died lately; at 0 nothing is suspected any more.
        """
        if not deaths:
            return self._trust()
        if self.mode is Mode.CAUTIOUS:
            self._widen()
        elif self.mode is Mode.NORMAL and self._aside:
            self.mode, self._group = Mode.ISOLATED, 1
        if self.mode is Mode.ISOLATED and not self._handled:
            return self._next_group()
        return []

    def _trust(self) -> list[Item]:
        self.mode = Mode.NORMAL
        self._suspected.clear()
        return self._handle(list(self._aside))

    def _widen(self) -> None:
        if self._harmless and not self._suspected:
            self.mode = Mode.NORMAL
        elif self._settled >= self._group:
            self._settled = 0
            self._group *= 2

    def _next_group(self) -> list[Item]:
        if not self._aside:
            self.mode, self._group = Mode.CAUTIOUS, 1
            self._settled, self._harmless = 0, False
            return []
        group = self._handle(list(islice(self._aside, self._group)))
        self._group *= 2
        return group

    def _handle(self, items: list[Item]) -> list[Item]:
        for item in items:
            del self._aside[item]
        self._handled.update(items)
        return items
