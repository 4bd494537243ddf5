"""Virtual time: what is to happen when, in order."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Agenda:
    """Things to do at given times; the time jumps from one to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, time: float, act: Callable[[], None]) -> None:
        """Do something at a time, or now if that is past."""
        heapq.heappush(self._due, (max(time, self.now), next(self._order), act))

    def run(self, until: float) -> None:
        """Do all that is due before a time."""
        while self._due and self._due[0][0] < until:
            self.now, _, act = heapq.heappop(self._due)
            act()
        self.now = until
