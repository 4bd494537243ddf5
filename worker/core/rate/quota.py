"""Finding AWS's quota: a rate that all replicas share. The clock is an argument.

All replicas report to one state, one after the other; each report goes through `advance`, which
closes an epoch when enough is known, and then lets the rate grow, holds it or cuts it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

from worker.core.rate import background, recall, regrowth
from worker.core.rate.epoch import FEW, Epoch
from worker.core.rate.state import SharedRate

if TYPE_CHECKING:
    from worker.core.rate.fleet import Report

FLOOR: Final = 0.1  # calls a second: below any quota worth the name, yet a call in ten seconds
HIGHEST: Final = 1e6  # a rate that nothing uses must not grow out of what a float tells apart
CUT: Final = 0.85  # what is lost below the quota still fits into a burst of one second
OF_MEASURED: Final = 0.95
SLIGHT: Final = 0.97  # after one token alone, where calls are few
MOST_GROWTH: Final = 1.6  # an epoch, once a quota is known
GAP_SECONDS: Final = 10.0  # ten reports of a lonely replica: a longer silence was a rest
SETTLING_SECONDS: Final = 2.0  # each replica renews within 1.1 s, and then reports of a second
SETTLING_CALLS: Final = 8.0
_LONGEST_SETTLING_SECONDS: Final = 3600.0  # many times what the lowest rate takes


def initial(rate: float, now: float) -> SharedRate:
    """The state before the first call: searching from `rate` calls a second."""
    return SharedRate(rate=_bounded(rate, None), epoch_began=now, updated=now)


def restored(stored: object) -> SharedRate | None:
    """The state as it was stored, maybe by a neighbour version; None if no version stores such.

    Unknown members are ignored, missing ones take their defaults. The database's clock may have
    been set since, so times are only held against each other.

    Args:
        stored: Any value that JSON has.
    """
    if not isinstance(stored, Mapping) or "rate" not in stored:
        return None
    defaults = asdict(SharedRate(rate=1.0, epoch_began=0.0))
    found = {name: stored.get(name, default) for name, default in defaults.items()}
    if not all(map(_sound, found.values(), defaults.values())):
        return None
    if found["settling"] and found["epoch_began"] > found["updated"] + _LONGEST_SETTLING_SECONDS:
        return None
    kept = {name: type(defaults[name])(value) for name, value in found.items()}
    return replace(SharedRate(**kept), rate=_bounded(kept["rate"], None))


def _sound(value: object, like: object) -> bool:
    if isinstance(value, bool) or isinstance(like, bool):
        return isinstance(value, bool) and isinstance(like, bool)
    if not isinstance(value, int | float) or (isinstance(like, int) and value != value // 1):
        return False
    return math.isfinite(value) and value >= 0


def advance(
    state: SharedRate, report: Report, now: float, ceiling: float | None, replicas: int = 0
) -> SharedRate:
    """The state after one replica's report; its rate is what all may use now.

    Args:
        state: As the last report left it.
        report: What this replica has seen since its last report, about a second ago.
        now: Epoch seconds of the database's clock.
        ceiling: The most that the rate may be, above 0; None for no bound.
        replicas: How many report; where that is not known (0), what a rate comes to a second is
            known less well.
    """
    state = _counted(_begun(state, now), report)
    epoch = Epoch(state, now - state.epoch_began, replicas)
    if epoch.over:
        state = _decided(epoch, now)
    return replace(state, rate=_bounded(state.rate, ceiling), updated=now)


def _bounded(rate: float, ceiling: float | None) -> float:
    return min(max(float(rate), FLOOR), HIGHEST, math.inf if ceiling is None else ceiling)


def _begun(state: SharedRate, now: float) -> SharedRate:
    """A new epoch after a cut has settled, all replicas have rested, or a clock was set."""
    rested = not 0 <= now - state.updated <= GAP_SECONDS
    settled = state.settling and now >= state.epoch_began
    return _new_epoch(state, now) if rested or settled else state


def _new_epoch(state: SharedRate, began: float) -> SharedRate:
    return replace(
        state,
        epoch_began=began,
        calls=0,
        successes=0,
        throttled=0,
        tokens=0,
        reports=0,
        settling=False,
    )


def _counted(state: SharedRate, report: Report) -> SharedRate:
    if report.throttled and not (state.throttled or state.settling):
        # From here on the quota is the limit, and what is let through measures it.
        state = _new_epoch(state, max(state.epoch_began, state.updated))
    state = replace(
        state,
        calls=state.calls + report.calls,
        successes=state.successes + report.successes,
        throttled=state.throttled + report.throttled,
        tokens=state.tokens + report.tokens,
        reports=state.reports + max(1, round(report.seconds)),
    )
    return background.counted(state, report)


def _decided(epoch: Epoch, now: float) -> SharedRate:
    state = epoch.state
    believed = background.share(state)
    called = epoch.rate_of(state.calls)
    epoch = replace(epoch, state=background.learnt(state, epoch.share, called))
    if epoch.fruitless:
        epoch = replace(epoch, state=background.forgotten(epoch.state))
    elif background.share(epoch.state) and not believed:
        return _probed(epoch, now)
    if epoch.congested and not epoch.passing:
        return _cut(epoch, now)
    if state.throttled and not (epoch.passing or background.share(epoch.state)):
        return _held(epoch.state, now)
    return _grown(epoch, now) if epoch.used else _new_epoch(epoch.state, now)


def _held(state: SharedRate, now: float) -> SharedRate:
    """One token alone: the rate stays, or gives way a little where calls are too few for two."""
    if state.rate >= FEW:
        return _new_epoch(state, now)
    rate = max(FLOOR, SLIGHT * state.rate)
    held = replace(state, rate=rate, peak=rate, grown=regrowth.BACK_SECONDS, searching=False)
    return _new_epoch(held, now)


def _probed(epoch: Epoch, now: float) -> SharedRate:
    """Cuts have turned out to be in vain: look what a higher rate brings."""
    probe = replace(
        epoch.state,
        low=epoch.rate_of(epoch.state.successes),
        peak=epoch.state.rate,
        grown=regrowth.PROBE_SECONDS,
        searching=False,
    )
    return _new_epoch(probe, now)


def _cut(epoch: Epoch, now: float) -> SharedRate:
    state = recall.cut(epoch.state)
    if epoch.strong or epoch.rising:
        state = background.forgotten(state)
    measured, peak = epoch.measured
    overshot = not epoch.slight and (state.searching or state.grown > regrowth.SEARCH_SECONDS)
    if overshot:
        measured, peak = max(measured, state.before), max(peak, state.before)
    rate = max(FLOOR, min(CUT * state.rate, OF_MEASURED * measured))
    cut = replace(state, rate=rate, low=rate, peak=max(rate, peak), grown=0.0, searching=False)
    settled = now + max(SETTLING_SECONDS, 1.0 + SETTLING_CALLS / max(FLOOR, state.rate))
    return replace(
        _new_epoch(cut, settled),
        settling=True,
        overshot=overshot,
        proven=0.0 if epoch.strong else epoch.rate_of(state.successes),
    )


def _grown(epoch: Epoch, now: float) -> SharedRate:
    state, good = epoch.state, epoch.rate_of(epoch.state.successes)
    grown = 0.0 if state.searching else state.grown + epoch.growth_seconds
    if state.searching:
        aim = 2.0 * state.rate
    elif recall.due(state, grown):
        grown = regrowth.PROBE_SECONDS
        state = replace(state, peak=max(state.peak, good), recalling=True)
        aim = max(recall.doubled(state), _aim(state, grown))
    else:
        aim = _aim(state, grown)
    state = recall.learnt(state, good)
    rate, before = max(state.rate, aim), state.rate * (1.0 - epoch.share)
    return _new_epoch(replace(state, rate=rate, before=before, grown=grown), now)


def _aim(state: SharedRate, grown: float) -> float:
    """Where the way back leads, so many seconds after the cut."""
    return min(MOST_GROWTH * state.rate, regrowth.rate(state.low, state.peak, grown))
