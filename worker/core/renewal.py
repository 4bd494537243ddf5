"""How long credentials serve, when they are renewed, and when a failed look-up is tried again.

All times are in seconds.
"""

from __future__ import annotations

from typing import Final

from worker.core.backoff import FullJitter, equal_jitter

LOOK_UP_SECONDS: Final = 60.0
"""Bound of one look-up, whatever its callers wait: helper programs and STS may be slow."""

MARGIN_SECONDS: Final = 10.0
"""So near to their end credentials no longer sign: a call takes a while, and clocks differ."""

_AHEAD_SECONDS: Final = 15 * 60.0
_LEAST_SECONDS: Final = 5.0
_AGAIN: Final = FullJitter(base_seconds=3.0, cap_seconds=8.0)


def renewal_in(remaining: float) -> float:
    """When to renew credentials that end in so many seconds; never, for those without an end.

    A quarter of an hour before the end, as botocore does, so that a slow or failing source has
    time. Credentials that end sooner are renewed at half of what remains, and never at once: many
    sources give out the same ones again until shortly before their end.
    """
    ahead = remaining - _AHEAD_SECONDS
    return ahead if ahead >= _LEAST_SECONDS else max(_LEAST_SECONDS, remaining / 2)


def again_in(failures: int, draw: float) -> float:
    """How long to wait after so many failed look-ups in a row (from 1), before the next may begin.

    Between 1.5 and 8 s, so that neither a broken program is started in a loop nor calls wait long
    once it is mended; `draw` is uniform in [0, 1).
    """
    return equal_jitter(_AGAIN.bound(failures), draw)
