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
MOST: Final = 0.3  # of the calls; more is taken for a quota, or for none left at all


def counted(state: SharedRate, report: Report) -> SharedRate:
    """Go by a report: a long stretch without a throttle lessens the doubt."""
    clean = 0 if report.throttled else state.clean + report.calls
    state = replace(state, clean=clean)
    if not state.doubt or state.settling:
        return state
    state = replace(
        state,
        doubted_calls=state.doubted_calls + report.calls,
        doubted_throttled=state.doubted_throttled + report.tokens,
    )
    return _lessened(state) if clean >= _clean_calls(state) else state


def _clean_calls(state: SharedRate) -> float:
    share = background(state)
    return CLEAN_TIMES / share if share else CLEAN_CALLS


def _lessened(state: SharedRate) -> SharedRate:
    if state.doubt <= CLEARS:
        return cleared(state)
    return replace(state, doubt=state.doubt - CLEARS, clean=0)


def cleared(state: SharedRate) -> SharedRate:
    """The throttles do follow the rate."""
    return replace(state, doubt=0, doubted_calls=0, doubted_throttled=0)


def cut(state: SharedRate) -> SharedRate:
    """One more cut became necessary."""
    if state.rate < LEAST_RATE:
        return state
    return replace(state, doubt=min(CUTS, state.doubt + 1))


def background(state: SharedRate) -> float:
    """The share of calls that is throttled whatever the rate; 0 as long as cuts do help."""
    if state.doubt < CUTS:
        return 0.0
    return min(MOST, state.doubted_throttled / max(1, state.doubted_calls))
