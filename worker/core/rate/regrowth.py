"""How a rate comes back after a cut: steeply, flat around the quota, then searching again."""

from __future__ import annotations

from typing import Final

BACK_SECONDS: Final = 4.0
FLAT_SECONDS: Final = 8.0
SEARCH_SECONDS: Final = BACK_SECONDS + FLAT_SECONDS
PROBE_SECONDS: Final = SEARCH_SECONDS + 6.0  # from here on its steps are large
FLAT_GROWTH: Final = 0.07
EPOCH_SECONDS: Final = 2.0
SEARCH_GROWTH: Final = 0.03


def rate(low: float, peak: float, seconds: float) -> float:
    """Calls a second, so long after a cut to `low`, where the quota was measured as `peak`.

    Source: the concave part and the plateau of CUBIC, RFC 9438. In place of its convex part a
    search whose step doubles each two seconds up to doubling the rate itself, as slow start does:
    a stretch so long without a throttle means that the quota has risen.
    """
    if seconds < BACK_SECONDS:
        return peak - (peak - low) * (1.0 - seconds / BACK_SECONDS) ** 3
    flat = min(1.0, (seconds - BACK_SECONDS) / FLAT_SECONDS)
    return peak * (1.0 + FLAT_GROWTH * flat) * _search(seconds - SEARCH_SECONDS)


def _search(seconds: float) -> float:
    factor, step = 1.0, SEARCH_GROWTH
    while seconds > 0:
        factor *= 1.0 + step * min(1.0, seconds / EPOCH_SECONDS)
        seconds, step = seconds - EPOCH_SECONDS, min(1.0, 2.0 * step)
    return min(factor, _MOST)


_MOST: Final = 1e9
