"""Throttles that do not follow the rate: cuts are in vain then, and must not go on for ever.

A cut to less than was let through ends the throttling, where a quota causes it. Where cut after
cut does not, the share of throttled calls is taken for what it is at any rate: only more than that
counts, and the rate may grow again. If that then brings no more successes, it was a quota after
all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.core.fleet import Report
    from worker.core.quota import SharedRate

CUTS: Final = 4  # a drop to a quarter takes two or three
LEAST_RATE: Final = 1.0  # calls a second: fewer don't tell a cut in vain from one that helped
CLEAN_CALLS: Final = 40
CLEAN_TIMES: Final = 4.0  # so many throttles were to be expected, and none came
CLEARS: Final = 2  # cuts forgiven for each clean stretch
SAFE_SHARE: Final = 0.1  # of an epoch's calls; more, and the quota has fallen meanwhile
SAFE_THROTTLED: Final = 5  # fewer come from cuts that were not deep enough
SAFE_CALLS: Final = 400  # of late: then both counts are halved
MOST: Final = 0.3  # of the calls; more is taken for a quota, or for none left at all


def counted(state: SharedRate, report: Report) -> SharedRate:
    """Go by a report: a long stretch without a throttle lessens the doubt."""
    clean = 0 if report.throttled else state.clean + report.calls
    state = replace(state, clean=clean)
    if state.safe_throttled and clean * state.safe_throttled >= CLEAN_TIMES * state.safe_calls:
        state = fallen(state)
    if not state.doubt or state.settling:
        return state
    state = replace(
        state,
        doubted_calls=state.doubted_calls + report.calls,
        doubted_throttled=state.doubted_throttled + report.tokens,
    )
    return _lessened(state) if clean >= _clean_calls(state) else state


def tallied(state: SharedRate) -> SharedRate:
    """Go by an epoch right after a gentle cut, in which AWS's bucket fills.

    What is throttled then is throttled at any rate, unless it is so much that the quota itself
    must have fallen meanwhile.
    """
    if not state.gentle or state.grown > 0 or state.throttled > SAFE_SHARE * state.calls:
        return state
    calls, throttled = state.safe_calls + state.calls, state.safe_throttled + state.tokens
    if calls > SAFE_CALLS:
        calls, throttled = calls // 2, throttled // 2
    return replace(state, safe_calls=calls, safe_throttled=throttled)


def _clean_calls(state: SharedRate) -> float:
    share = background(state)
    return CLEAN_TIMES / share if share else CLEAN_CALLS


def _lessened(state: SharedRate) -> SharedRate:
    if state.doubt <= CLEARS:
        return replace(state, doubt=0, doubted_calls=0, doubted_throttled=0)
    return replace(state, doubt=state.doubt - CLEARS, clean=0)


def cleared(state: SharedRate) -> SharedRate:
    """The throttles do follow the rate."""
    return replace(
        state, doubt=0, doubted_calls=0, doubted_throttled=0, safe_calls=0, safe_throttled=0
    )


def fallen(state: SharedRate) -> SharedRate:
    """The quota has fallen: what followed earlier cuts says nothing any more."""
    return replace(state, safe_calls=0, safe_throttled=0)


def cut(state: SharedRate) -> SharedRate:
    """One more cut became necessary."""
    if state.rate < LEAST_RATE:
        return state
    return replace(state, doubt=min(CUTS, state.doubt + 1))


def background(state: SharedRate) -> float:
    """The share of calls that is throttled whatever the rate; 0 as long as cuts do help."""
    doubted = 0.0
    if state.doubt >= CUTS:
        doubted = state.doubted_throttled / max(1, state.doubted_calls)
    safe = 0.0
    if state.safe_throttled >= SAFE_THROTTLED:
        safe = state.safe_throttled / max(1, state.safe_calls)
    return min(MOST, max(doubted, safe))
