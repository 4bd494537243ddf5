"""How long to wait before trying again. Random draws are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FullJitter:
    """Exponential backoff with full jitter: a draw between zero and a bound that doubles.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015; full jitter had the
    least work and nearly the least delay of the schemes compared there.
    """

    base_seconds: float
    cap_seconds: float

    def delay(self, failures: int, draw: float) -> float:
        """Seconds to wait after so many failures (from 1); `draw` is uniform in [0, 1)."""
        return draw * self.bound(failures)

    def bound(self, failures: int) -> float:
        """The upper bound of `delay`, in seconds."""
        return min(self.cap_seconds, self.base_seconds * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))


_MOST_DOUBLINGS: Final = 60  # more would overflow a float before the cap is applied

CALLS: Final = FullJitter(base_seconds=0.1, cap_seconds=1.0)
# A token that may itself be the cause is tried again soon, then ever less often if it alone fails.
HALTED: Final = FullJitter(base_seconds=0.1, cap_seconds=10.0)
# An outage of two seconds is enough to reach the cap, which then adds to buyers' waiting time.
RECONNECT: Final = FullJitter(base_seconds=0.25, cap_seconds=3.0)


def equal_jitter(seconds: float, draw: float) -> float:
    """Between half of a time and all of it, in seconds: spread, but never zero."""
    return seconds * (0.5 + draw / 2)


def probe_wait(probes: int, draw: float) -> float:
    """Seconds before the next probe of whether a systemic fault is over.

    Short at first, because many faults end quickly, but never under a second, because each probe
    is a call; then about two and a half seconds and never more than three, so that calls resume
    soon after the cause is fixed.
    """
    bound = min(_PROBE_CAP_SECONDS, _PROBE_BASE_SECONDS * _PROBE_GROWTH ** min(probes, 8))
    return bound * (2 + draw) / 3


_PROBE_BASE_SECONDS: Final = 1.5
_PROBE_GROWTH: Final = 1.5
_PROBE_CAP_SECONDS: Final = 3.0
