"""The hidden quota: a token bucket. Time is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Quota:
    """How many calls are let through.

    Attributes:
        rate: Calls a second, in the long run; infinite means no limit.
        burst: Calls at once, after a pause.
    """

    rate: float
    burst: float

    @classmethod
    def of(cls, rate: float | None, burst: float | None) -> Quota:
        """A quota from what a person gave.

        Args:
            rate: Calls a second; none means no limit.
            burst: Calls at once; none means one second's worth, and at least 1.

        Raises:
            ValueError: A value that makes no quota; the text says which and what would.
        """
        if rate is None and burst is not None:
            raise ValueError("burst needs a rate: give both, or neither for no limit")
        if rate is None:
            return UNLIMITED
        size = max(1.0, rate) if burst is None else burst
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError("rate must be a finite number of calls a second, 0 or more")
        if not (math.isfinite(size) and (size >= 1 or size == 0)):
            raise ValueError("burst must be a finite number of calls, 1 or more (0 lets none in)")
        return cls(rate, size)


UNLIMITED: Final = Quota(math.inf, math.inf)


class TokenBucket:
    """Lets calls through as a quota allows; full at first."""

    __slots__ = ("_level", "_quota", "_updated_s")

    def __init__(self, quota: Quota, now_s: float) -> None:
        self._quota = quota
        self._level = quota.burst
        self._updated_s = now_s

    @property
    def quota(self) -> Quota:
        """The quota in force."""
        return self._quota

    def take(self, now_s: float) -> bool:
        """Whether a call at `now_s` (monotonic seconds) is within the quota; if so, it counts."""
        self._refill(now_s)
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def change(self, quota: Quota, now_s: float) -> None:
        """Put another quota in force, without a free burst: what was spent stays spent."""
        self._refill(now_s)
        self._quota = quota
        self._level = min(self._level, quota.burst)

    def _refill(self, now_s: float) -> None:
        elapsed_s = max(0.0, now_s - self._updated_s)
        self._updated_s = max(self._updated_s, now_s)
        if elapsed_s:
            self._level = min(self._quota.burst, self._level + elapsed_s * self._quota.rate)
