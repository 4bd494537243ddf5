"""The law by which the shared rate moves; `worker.core.rate` explains it. The clock is an argument.

All replicas report to one state, one after the other, and each report goes through `advance`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

from worker.core.rate.state import SharedRate

if TYPE_CHECKING:
    from worker.core.rate.fleet import Report

# Bounds of the rate, in calls a second.
FLOOR: Final = 0.1  # below any quota worth the name, yet a call in ten seconds
HIGHEST: Final = 1e6  # a rate that nothing uses must not grow out of what a float tells apart

# The window: its weight decays over so many seconds, or calls where these take longer.
MEMORY_SECONDS: Final = 1.2  # a report of each replica; longer makes every answer late
MEMORY_CALLS: Final = 40.0  # fewer measure a low quota badly
LONGEST_SECONDS: Final = 10.0

# Nothing throttled: growth of the logarithm of the rate a second.
SLOWEST: Final = 0.005  # with GAIN it sets the share that is throttled at a steady quota
FASTEST: Final = math.log(2) / 2  # a report later than two seconds would overshoot fourfold
DOUBLING_SECONDS: Final = 2.3  # of the growth; less finds a risen quota sooner and overshoots more
FULL: Final = 18.0  # calls a second, below which growth and correction go by calls, not by seconds
USED: Final = 0.3  # of the rate must be called, or the calls say nothing about it
MOST_SECONDS: Final = 2.0  # that one report lets the rate grow for

# Some throttled: correction of the logarithm of the rate a second, times the throttled share.
GAIN: Final = 1.3

# Mostly throttled: a jump to the successes a second.
SEVERAL: Final = 4.0  # tokens, or successes: fewer are chance
STRONG: Final = (
    0.25  # of the calls; less is no measurement, for the bucket was not empty throughout
)
DEEPEST: Final = 0.5  # of the rate; part of the window may be from before the quota fell
SETTLING_SECONDS: Final = 0.7  # most replicas have heard of it, and tell of calls after it
SETTLING_CALLS: Final = 12.0
PEAK: Final = 1.2  # times the rate jumped to: replicas that slow down use less than the quota

# Throttles that are not the quota's.
PASSING: Final = 0.04  # tokens a call: a search that calls cannot follow is ended only by more
PATIENCE_SECONDS: Final = 20.0  # after a jump, in which corrections only follow it
DOUBT: Final = 0.4  # of what was proven: corrected so far without a jump, it is searched again
FALLEN: Final = 0.25  # of what was proven: calls that pass again mean that AWS had stopped them all


LAW: Final = 2  # counts of another one mean something else; its rate is worth keeping
_SHARED: Final = ("rate", "updated", "searching")  # every version stores and understands these


def initial(rate: float, now: float) -> SharedRate:
    """The state before the first call: searching from `rate` calls a second."""
    return SharedRate(rate=_bounded(rate), updated=now)


def stored(state: SharedRate) -> dict[str, object]:
    """The state as it is stored: what every version understands, and apart the rest.

    A version before this law finds an epoch that has just begun, and leaves the rate alone. Our
    counts stand apart: under the names that it uses it would take them for nonsense, for its own
    are whole numbers, and begin anew.
    """
    members = asdict(state)
    shared = {name: members.pop(name) for name in _SHARED}
    return shared | {"epoch_began": state.updated, "law": {"version": LAW, **members}}


def own(document: object) -> bool:
    """Whether a stored state was written by this law, and not by another version's."""
    law = document.get("law") if isinstance(document, Mapping) else None
    return isinstance(law, Mapping) and law.get("version") == LAW


def restored(document: object) -> SharedRate | None:
    """The state as it was stored; None if no version stores such.

    Of a state that another law has written only the rate is kept, and whether it is searched for.

    Args:
        document: Any value that JSON has.
    """
    if not isinstance(document, Mapping) or "rate" not in document:
        return None
    given = {name: document[name] for name in _SHARED if name in document}
    if own(document):
        given |= {name: each for name, each in document["law"].items() if name not in _SHARED}
    defaults = asdict(SharedRate(rate=1.0, updated=0.0))
    found = {name: given.get(name, default) for name, default in defaults.items()}
    if not all(map(_sound, found.values(), defaults.values())):
        return None
    state = SharedRate(**{name: type(defaults[name])(value) for name, value in found.items()})
    settled = min(state.settled, state.updated + SETTLING_CALLS / FLOOR)
    return replace(state, rate=_bounded(state.rate), settled=settled)


def _sound(value: object, like: object) -> bool:
    if isinstance(value, bool) or isinstance(like, bool):
        return isinstance(value, bool) and isinstance(like, bool)
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def advance(state: SharedRate, report: Report, now: float, replicas: int = 0) -> SharedRate:
    """The state after one replica's report; its rate is what all may use now, below any ceiling.

    Args:
        state: As the last report left it.
        report: What this replica has seen since its last report, about a second ago.
        now: Epoch seconds of the database's clock.
        replicas: How many report; where that is not known (0), a report counts for the time since
            the last one.
    """
    elapsed = now - state.updated
    seconds = (report.seconds or 1.0) / replicas if replicas else max(0.0, elapsed)
    if elapsed < 0:  # the clock was set back
        state, elapsed = replace(state, settled=0.0), math.inf
    state = _counted(state, report, elapsed, seconds)
    state = replace(state, updated=now)
    if now >= state.settled:
        state = _decided(state, report.throttled, now, min(seconds, MOST_SECONDS))
    return replace(state, rate=_bounded(state.rate))


def _bounded(rate: float) -> float:
    return min(max(float(rate), FLOOR), HIGHEST)


def _counted(state: SharedRate, report: Report, elapsed: float, seconds: float) -> SharedRate:
    """The window with one more report in it; while a jump settles, only the last report counts."""
    called = state.called if state.seconds else state.rate
    memory = max(MEMORY_SECONDS, min(LONGEST_SECONDS, MEMORY_CALLS / max(called, FLOOR)))
    keep = math.exp(-elapsed / memory) if state.updated + elapsed >= state.settled else 0.0
    return replace(
        state,
        seconds=state.seconds * keep + seconds,
        calls=state.calls * keep + report.calls,
        successes=state.successes * keep + report.successes,
        throttled=state.throttled * keep + report.throttled,
        tokens=state.tokens * keep + report.tokens,
    )


def _decided(state: SharedRate, throttled: int, now: float, seconds: float) -> SharedRate:
    used = state.calls > 0 and state.calls + 1 >= USED * state.rate * state.seconds
    several = state.tokens >= SEVERAL
    if several and state.throttled >= STRONG * state.calls and (state.searching or used):
        return _jumped(state, now)
    if state.searching and used:
        return replace(state, rate=state.rate * math.exp(FASTEST * seconds))
    if state.searching and several and state.tokens > PASSING * state.calls:
        return _found(state, state.called, now + SETTLING_SECONDS, proven=state.called)
    if state.searching or not used:
        return state
    if throttled:
        return _corrected(state, throttled, now)
    return _grown(state, seconds * min(1.0, state.called / FULL))


def _jumped(state: SharedRate, now: float) -> SharedRate:
    """To what AWS lets through: an absolute measure, so that repeating it can't cut twice."""
    measured = state.searching or state.successes >= SEVERAL
    proven = state.passed if measured else state.proven
    least = DEEPEST * max(state.rate, FALLEN * proven)
    rate = min(state.rate, max(state.passed, least))
    settled = now + max(SETTLING_SECONDS, SETTLING_CALLS / state.rate)
    return _found(state, rate, settled, proven=proven, peak=PEAK * rate)


def _found(
    state: SharedRate, rate: float, settled: float, *, proven: float, peak: float = 0.0
) -> SharedRate:
    return replace(
        state,
        rate=rate,
        searching=False,
        growth=SLOWEST,
        peak=peak,
        proven=proven,
        settled=settled,
    )


def _corrected(state: SharedRate, throttled: int, now: float) -> SharedRate:
    """Down in proportion to the throttled share, yet not below what is let through."""
    if state.successes < SEVERAL:  # AWS lets hardly anything through: that is no share of a quota
        return state
    rate = state.rate * math.exp(-GAIN / max(state.rate, FULL) * throttled)
    rate = max(rate, min(state.rate, state.passed))
    following = now - state.settled < PATIENCE_SECONDS
    proven = min(state.proven, state.passed) if following else state.proven
    return replace(
        state,
        rate=rate,
        searching=rate < DOUBT * proven,
        growth=SLOWEST,
        peak=min(state.peak, state.passed),
        proven=proven,
    )


def _grown(state: SharedRate, seconds: float) -> SharedRate:
    """Up, ever faster; at once to the peak, or into a search, where a fall was a passing one."""
    if state.successes >= SEVERAL:
        state = replace(state, proven=max(state.proven, state.passed))
        if state.successes > state.throttled and state.rate < FALLEN * state.proven:
            return replace(state, searching=True)
    if state.rate < state.peak:
        back = math.log(state.peak / state.rate) * min(1.0, seconds / DOUBLING_SECONDS)
        return replace(state, rate=state.rate * math.exp(back + state.growth * seconds))
    growth = min(FASTEST, max(SLOWEST, state.growth) * 2.0 ** (seconds / DOUBLING_SECONDS))
    return replace(state, rate=state.rate * math.exp(state.growth * seconds), growth=growth)
