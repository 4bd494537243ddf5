"""Which lane goes first: the waiting buyer, but never less than its share for the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.core.records import Lane

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SHARES: Final[Mapping[Lane, float]] = {Lane.BACKLOG: 1 / 5, Lane.CROWD: 1 / 20}
"""Of the turns, what a lane has at least while others wait too."""

_ORDER: Final = (Lane.LIVE, Lane.BACKLOG, Lane.CROWD)
_ROUNDING: Final = 1e-9


@dataclass(slots=True)
class LaneChooser:
    """Gives the first lane that waits all it wants, save the shares of those behind it.

    Attributes:
        credit: Turns that are owed to a lane; it grows only while the lane is kept waiting, so that
            an idle one saves nothing up.
    """

    credit: dict[Lane, float] = field(default_factory=lambda: dict.fromkeys(SHARES, 0.0))

    def choose(self, waiting: Collection[Lane]) -> Lane | None:
        """Whose turn it is, given which lanes have something waiting; None if none has."""
        lanes = [lane for lane in _ORDER if lane in waiting]
        for lane in self.credit:
            if lane not in waiting:
                self.credit[lane] = 0.0
        for lane in lanes[1:]:
            self.credit[lane] += SHARES[lane]
        for lane in lanes[1:]:
            if self.credit[lane] >= 1 - _ROUNDING:
                self.credit[lane] -= 1
                return lane
        return lanes[0] if lanes else None
