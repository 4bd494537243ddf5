"""When credentials are renewed, and when a failed look-up of credentials is tried again.

All times are in seconds.
"""

from __future__ import annotations

from typing import Final

from worker.core.backoff import FullJitter, equal_jitter

LOOK_UP_SECONDS: Final = 60.0
"""Time limit of one look-up, however long its callers wait: helper programs and STS may be slow."""

MARGIN_SECONDS: Final = 10.0
"""Credentials this close to expiry are not used: a call takes time, and clocks differ."""

_AHEAD_SECONDS: Final = 15 * 60.0
_LEAST_SECONDS: Final = 5.0
_AGAIN: Final = FullJitter(base_seconds=3.0, cap_seconds=8.0)


def renewal_in(remaining: float) -> float:
    """Seconds until credentials should be renewed that expire in `remaining` seconds.

    A quarter of an hour before expiry, as botocore does, so that a slow or failing source has time.
    Credentials that expire sooner are renewed after half of the remaining time, and never at once:
    many sources return the same credentials again until shortly before their expiry.
    """
    ahead = remaining - _AHEAD_SECONDS
    return ahead if ahead >= _LEAST_SECONDS else max(_LEAST_SECONDS, remaining / 2)


def again_in(failures: int, draw: float) -> float:
    """Seconds to wait after so many failed look-ups in a row (from 1) before the next.

    Between 1.5 and 8 s, so that a broken helper program is not started in a loop, and calls do not
    wait long once it is fixed; `draw` is uniform in [0, 1).
    """
    return equal_jitter(_AGAIN.bound(failures), draw)
