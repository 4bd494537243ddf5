"""Throttles that do not follow the rate: cuts are in vain then, and must not go on for ever.

A cut to less than was let through ends the throttling, where a quota causes it. What is throttled
while fewer calls are made than AWS let through before is throttled whatever the rate, and so that
share of all calls is: only more than that counts against the rate. A higher rate is the test of it:
if it brings no more successes, or a larger share is throttled, it was a quota after all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.core.rate.fleet import Report
    from worker.core.rate.state import SharedRate

BELIEVED: Final = 4  # tokens: fewer come from cuts that were not deep enough
UNSURE: Final = 2  # of them: who stops counting at the fourth has counted too many
REMEMBERED_CALLS: Final = 800  # then both counts are halved
BELOW: Final = 0.95  # of what was let through a second
MOST: Final = 0.3  # of the calls; more is taken for a quota, or for none left at all
CLEAN_TIMES: Final = 8.0  # so many throttles were to be expected, and none came


def counted(state: SharedRate, report: Report) -> SharedRate:
    """Go by a report: a long stretch without a throttle ends the belief."""
    clean = 0 if report.throttled else state.clean + report.calls
    state = replace(state, clean=clean)
    sure = state.safe_throttled - UNSURE
    surprising = sure > 0 and clean * sure >= CLEAN_TIMES * state.safe_calls
    return forgotten(state) if surprising else state


def learnt(state: SharedRate, throttled: float, called: float) -> SharedRate:
    """Go by an epoch; it tells something if fewer calls were made than AWS let through before.

    Args:
        state: With what was counted in the epoch.
        throttled: The part of the calls that was throttled; if it is large, the quota must have
            fallen meanwhile.
        called: Calls a second.

    Returns:
        The state that remembers it; but one epoch alone is never enough to believe.
    """
    safe = called <= BELOW * state.proven and throttled <= MOST
    if safe and state.tokens >= BELIEVED:
        return _remembered(state, state.calls * (BELIEVED - 1) // state.tokens, BELIEVED - 1)
    return _remembered(state, state.calls, state.tokens) if safe else state


def _remembered(state: SharedRate, calls: int, throttled: int) -> SharedRate:
    calls, throttled = state.safe_calls + calls, state.safe_throttled + throttled
    if calls > REMEMBERED_CALLS:
        calls, throttled = calls // 2, throttled // 2
    return replace(state, safe_calls=calls, safe_throttled=throttled)


def forgotten(state: SharedRate) -> SharedRate:
    """The quota was the reason, or is another now: what was remembered says nothing any more."""
    return replace(state, safe_calls=0, safe_throttled=0)


def share(state: SharedRate) -> float:
    """The share of calls that is throttled whatever the rate; 0 as long as cuts do help."""
    if state.safe_throttled < BELIEVED:
        return 0.0
    return min(MOST, state.safe_throttled / max(1, state.safe_calls))
