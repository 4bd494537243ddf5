"""When live tokens are demoted, so that the buyers who are served have not waited long.

A line that is longer than its buyers' patience serves only those who have left. While the quota
is the limit, tokens past the patience therefore move to the backlog lane, and fresh ones are
answered. Time is an argument, in seconds of one clock; ages are the buyers' waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

DEMOTION_SHARE: Final = 1 / 6
"""Of the patience: who has waited longer is demoted, once anyone has waited for all of it."""

_HOLD_SECONDS: Final = 10.0
_LONGEST_HOLD_SECONDS: Final = 60.0
_MOST_DOUBLINGS: Final = 10
_TRIAL_SECONDS: Final = 1.0


@dataclass(slots=True)
class Refusals:
    """Holds moves back while the backlog refuses them, for longer each time.

    After a hold one move at a time is tried, until one is confirmed.

    Attributes:
        times: Holds in a row without a move confirmed in between.
        until: When the latest hold ends.
    """

    times: int = 0
    until: float = -math.inf
    _tried: float = -math.inf

    def refused(self, now: float) -> float:
        """A move was refused: seconds of the hold that begins now, 0 if one is on already."""
        if now < self.until:
            return 0.0
        doublings = min(self.times, _MOST_DOUBLINGS)
        seconds = min(_LONGEST_HOLD_SECONDS, _HOLD_SECONDS * 2.0**doublings)
        self.times += 1
        self.until = now + seconds
        return seconds

    def confirmed(self, now: float) -> None:
        """A move was confirmed; one that was sent before the hold began says nothing."""
        if now >= self.until:
            self.times = 0

    def allowed(self, now: float) -> float:
        """How many may be moved now: none, one as a trial, or any number (infinite)."""
        if not self.times:
            return math.inf
        if now < self.until or now - self._tried < _TRIAL_SECONDS:
            return 0
        self._tried = now
        return 1


@dataclass(slots=True)
class Demotion:
    """Whether live tokens are demoted in favour of fresher ones.

    It begins once the oldest token has waited longer than the patience. From then on whoever has
    waited longer than a sixth of it is demoted, as long as there is anyone: ending it as soon
    as the head is younger would let the waits swing between a sixth and the whole of the patience,
    and half of those served would have waited for more than half of it. It is over when for a
    sixth of the patience nobody has waited that long.

    Attributes:
        patience_seconds: How long a buyer is taken to wait; may be changed at any time.
        moving: Whether the overload lasts.
        refusals: What a full backlog does to it.
    """

    patience_seconds: float
    moving: bool = False
    refusals: Refusals = field(default_factory=Refusals)
    _overloaded_at: float = -math.inf

    @property
    def bound_seconds(self) -> float:
        """The wait past which a token is demoted while demotion goes on."""
        return self.patience_seconds * DEMOTION_SHARE

    def look(
        self, now: float, oldest_seconds: float, *, at_quota: bool, behind_seconds: float = 0.0
    ) -> float:
        """Look at the line anew.

        Args:
            now: The time.
            oldest_seconds: The wait of whoever has waited longest; 0 if nobody waits.
            behind_seconds: How long whoever comes now will wait in the broker's queue, where nobody
                sees when who came.
            at_quota: Whether calls wait for permits, and for nothing else. Moving tokens aside
                helps nobody where AWS refuses us, an operator has paused or the database is away.

        Returns:
            How many of those past the bound are to be moved now; infinite for all of them.
        """
        if self.moving and now - self._overloaded_at >= self.bound_seconds:
            self.moving = False
        longest = max(oldest_seconds, behind_seconds)
        if at_quota and longest > self.patience_seconds:
            self.moving = True
        if not (self.moving and self.is_past_bound(longest)):
            return 0
        self._overloaded_at = now
        return self.refusals.allowed(now) if at_quota else 0

    def is_past_bound(self, wait_seconds: float) -> bool:
        """Whether a token that has waited so long is demoted while demotion goes on."""
        return wait_seconds > self.bound_seconds

    def surplus(self, waiting: int, rate: float, behind_seconds: float) -> int:
        """How many of those in hand are demoted by their place: those who came first.

        Where many wait in the broker's queue, the time in hand says little: tokens in hand came
        before all of those, and may have waited there for long. So only as many stay as are called
        for within the bound, and the others make room for fresher ones.

        Args:
            waiting: How many wait in hand.
            rate: Calls a second that are made here.
            behind_seconds: As in `look`.
        """
        if not self.is_past_bound(behind_seconds):
            return 0
        return max(0, waiting - math.ceil(rate * self.bound_seconds))
