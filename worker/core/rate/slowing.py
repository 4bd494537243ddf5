"""A replica that is throttled slows down at once, before the shared rate has followed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

APART_SECONDS: Final = 0.15  # about a round trip: throttles nearer than that are one event
MEMORY_SECONDS: Final = 0.7  # of answers: a few calls of a slow replica, many of a fast one
CUT: Final = 0.5
LEAST_FACTOR: Final = 0.05  # so that a replica still finds out when it is over
RECOVERY_SECONDS: Final = 3.0
BEGIN: Final = 0.25  # of the share, after a stop


@dataclass(slots=True)
class Slowing:
    """What a replica makes of its own share, until the shared rate has followed.

    A throttle halves the pace, yet never to less than the square of what AWS let through of the
    last calls: throttles that come whatever the pace must not stop a replica. Without further
    ones the factor is back at 1 within a few seconds.

    Attributes:
        level: The factor as it was at `at`.
        at: Seconds of the caller's clock.
        good: Calls of late that were let through, decayed.
        bad: Calls of late that were throttled, decayed.
        share: What was leased last, in calls a second.
    """

    level: float = 1.0
    at: float = float("-inf")
    good: float = 0.0
    bad: float = 0.0
    share: float = 0.0
    _cut_at: float = float("-inf")
    _counted_at: float = float("-inf")
    _resumed_at: float = float("-inf")

    def factor(self, now: float) -> float:
        """By how much to multiply the share now, in (0, 1]."""
        gently = BEGIN * 2.0 ** max(0.0, min(8.0, now - self._resumed_at))
        return min(1.0, self._recovered(now), float(gently))

    def answered(self, now: float) -> None:
        """Count a call that was not throttled."""
        self._decay(now)
        self.good += 1.0

    def throttled(self, now: float) -> None:
        """Count a throttled call, and slow down unless that was done just now."""
        self._decay(now)
        self.bad += 1.0
        if now - self._cut_at < APART_SECONDS:
            return
        level = self._recovered(now)
        accepted = self.good / (self.good + self.bad)
        self.level = min(level, max(CUT * level, accepted * accepted, LEAST_FACTOR))
        self.at = self._cut_at = now

    def leased(self, share: float, now: float) -> None:
        """A share was leased: as far as it has fallen, the slow-down is in it already."""
        if 0 < share < self.share:
            self.level = min(1.0, self._recovered(now) * self.share / share)
            self.at = now
        self.share = share

    def resume(self, now: float) -> None:
        """Begin gently after a stop: at a quarter, doubling each second."""
        self._resumed_at = now

    def _recovered(self, now: float) -> float:
        return min(1.0, self.level + max(0.0, now - self.at) / RECOVERY_SECONDS)

    def _decay(self, now: float) -> None:
        factor = math.exp(-max(0.0, now - self._counted_at) / MEMORY_SECONDS)
        self.good *= factor
        self.bad *= factor
        self._counted_at = now
