"""How long to wait before trying again. Chance is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FullJitter:
    """Exponential backoff with full jitter: a draw from nothing up to a doubling bound.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015; full jitter had the
    least work and nearly the least delay of the schemes compared there.
    """

    base_seconds: float
    cap_seconds: float

    def delay(self, failures: int, draw: float) -> float:
        """Seconds to wait after so many failures (from 1); `draw` is uniform in [0, 1)."""
        return draw * self.bound(failures)

    def bound(self, failures: int) -> float:
        """The most that `delay` can be, in seconds."""
        return min(self.cap_seconds, self.base_seconds * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))


_MOST_DOUBLINGS: Final = 60  # more would overflow a float before the cap is applied

CALLS: Final = FullJitter(base_seconds=0.1, cap_seconds=1.0)
# A token that may itself be the fault comes again soon, and ever less often while it alone is.
HALTED: Final = FullJitter(base_seconds=0.1, cap_seconds=10.0)
# An outage of two seconds is enough to come to the cap: it is what buyers then wait in addition.
RECONNECT: Final = FullJitter(base_seconds=0.25, cap_seconds=3.0)


def equal_jitter(seconds: float, draw: float) -> float:
    """Half of a time for sure and up to the whole by chance: spreads, but never to nothing."""
    return seconds * (0.5 + draw / 2)


def probe_wait(probes: int, draw: float) -> float:
    """Seconds before the next probe for whether a fault of ours is over.

    Short at first, for many are over at once, and never under a second, for each probe is a call;
    then every two and a half seconds and never more than three, so that calls resume soon after
    the cause is mended.
    """
    bound = min(_PROBE_CAP_SECONDS, _PROBE_BASE_SECONDS * _PROBE_GROWTH ** min(probes, 8))
    return bound * (2 + draw) / 3


_PROBE_BASE_SECONDS: Final = 1.5
_PROBE_GROWTH: Final = 1.5
_PROBE_CAP_SECONDS: Final = 3.0
