"""What all replicas of a seller account share of the rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SharedRate:
    """The rate of a seller account, and what it is decided by; `worker.core.rate` explains it.

    Attributes:
        rate: Calls a second of all replicas together.
        updated: When the last report came, in epoch seconds of the database.
        searching: The rate doubles every two seconds, for the quota is not known.
        growth: How fast the logarithm of the rate grows a second while nothing is throttled.
        peak: After a jump, where the rate goes back to without a search.
        proven: Successes a second that AWS has let through since the quota was last measured.
        settled: Until when reports tell of calls that were made before the last jump.
        seconds: How long the window is, of the whole fleet.
        calls: Calls in it.
        successes: Those of them that AWS let through.
        throttled: Those of them that were throttled.
        tokens: How many distinct tokens those were.
    """

    rate: float
    updated: float
    searching: bool = True
    growth: float = 0.0
    peak: float = 0.0
    proven: float = 0.0
    settled: float = 0.0
    seconds: float = 0.0
    calls: float = 0.0
    successes: float = 0.0
    throttled: float = 0.0
    tokens: float = 0.0

    @property
    def called(self) -> float:
        """Calls a second, as measured in the window."""
        return self.calls / max(self.seconds, _LEAST_SECONDS)

    @property
    def passed(self) -> float:
        """Successes a second, as measured in the window."""
        return self.successes / max(self.seconds, _LEAST_SECONDS)


_LEAST_SECONDS: Final = 0.2  # in less than that a few calls would look like a high rate
