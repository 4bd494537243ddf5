"""Which lane goes first: the waiting buyer, and never less than a fifth for the backlog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from worker.core.records import Lane

BACKLOG_SHARE: Final = 0.2


@dataclass(slots=True)
class LaneChooser:
    """Gives the live lane all it wants, save a fifth of the turns while both lanes wait.

    Attributes:
        credit: Turns that are owed to the backlog; it grows only while the backlog is kept
            waiting, so that an idle lane saves nothing up.
    """

    credit: float = 0.0

    def choose(self, *, live: bool, backlog: bool) -> Lane | None:
        """Whose turn it is, given which lanes have something waiting; None if neither has."""
        if not backlog:
            self.credit = 0.0
            return Lane.LIVE if live else None
        if not live:
            return Lane.BACKLOG
        self.credit += BACKLOG_SHARE
        if self.credit < 1 - _ROUNDING:
            return Lane.LIVE
        self.credit -= 1
        return Lane.BACKLOG


_ROUNDING: Final = 1e-9
