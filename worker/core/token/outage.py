"""Is AWS down, or out of reach, or do a few tokens fail? The clock is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

MEMORY_SECONDS: Final = 10.0
LEAST_FAILURES: Final = 20.0
FAILING_SHARE: Final = 0.9
UNREACHED_IN_A_ROW: Final = 3


@dataclass(slots=True)
class Outage:
    """Recent transient failures and recent answers, as counts that decay.

    AWS is taken for down with `LEAST_FAILURES` failures that make up `FAILING_SHARE` of both.

    Attributes:
        failures: Calls that gave no usable answer for a fault that is not a token's.
        answers: Calls that AWS answered for a token: resolved, rejected or expired.
        at: When both were last brought up to date, in seconds of the caller's clock.
    """

    failures: float = 0.0
    answers: float = 0.0
    at: float = 0.0

    def failed(self, now: float) -> bool:
        """Count a failure; whether AWS must be taken for down."""
        self._decay(now)
        self.failures += 1
        share = self.failures / (self.failures + self.answers)
        return self.failures >= LEAST_FAILURES and share >= FAILING_SHARE

    def answered(self, now: float) -> None:
        """Count an answer."""
        self._decay(now)
        self.answers += 1

    def over(self) -> None:
        """Start again, after a probe was answered."""
        self.failures = self.answers = 0.0

    def _decay(self, now: float) -> None:
        factor = math.exp(-max(0.0, now - self.at) / MEMORY_SECONDS)
        self.failures *= factor
        self.answers *= factor
        self.at = now


@dataclass(slots=True)
class Reach:
    """Whether calls get as far as AWS.

    As long as none ever has, the first that does not is enough to stop: nothing speaks for a
    passing fault. Later `UNREACHED_IN_A_ROW` are.

    Attributes:
        ever: Whether a request of this process was ever sent to AWS.
        failures: Calls in a row for which none was.
    """

    ever: bool = False
    failures: int = 0

    def reached(self) -> None:
        """A request was sent to AWS."""
        self.ever = True
        self.failures = 0

    def failed(self) -> bool:
        """Count a call for which nothing was sent; whether to stop calls."""
        self.failures += 1
        return not self.ever or self.failures >= UNREACHED_IN_A_ROW
