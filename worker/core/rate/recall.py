"""What was let through before the quota fell: a fall is often short, so the rate soon looks there.

AWS may throttle for some seconds and then be as it was. The usual way back would take a minute from
a tenth of the rate. So after one epoch without throttles the rate doubles each epoch, as in a first
search, up to what was known. Where that fails the quota has really fallen, and most of what was
known is forgotten.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from worker.core.rate import regrowth

if TYPE_CHECKING:
    from worker.core.rate.state import SharedRate

FALLEN: Final = 3.0  # times the quota: where another user takes half of it, that is no fall
CLEAN_SECONDS: Final = 2.0  # of growth since the cut
FIRST_RATE: Final = 1.0  # calls a second: no quota that was far higher is below it
RECALLED: Final = 0.75  # of what was known
FORGOTTEN: Final = 4.0  # a recall may fail by chance, so it is tried once more, from less


def fallen(state: SharedRate) -> bool:
    """Whether far more than the quota now measured was let through, not long ago."""
    return state.known > FALLEN * state.peak > 0


def due(state: SharedRate, grown: float) -> bool:
    """Whether to look there now, so many seconds of growth after the cut."""
    return fallen(state) and grown >= CLEAN_SECONDS


def doubled(state: SharedRate) -> float:
    """The next rate of a recall; no more than about what was known."""
    if state.known <= FALLEN * state.rate:
        return state.rate
    return max(FIRST_RATE, 2.0 * state.rate)


def learnt(state: SharedRate, good: float) -> SharedRate:
    """Go by an epoch that lets the rate grow, with so many successes a second."""
    recalling = state.recalling and good < RECALLED * state.known
    return replace(state, known=max(state.known, _proven(state, good)), recalling=recalling)


def _proven(state: SharedRate, good: float) -> float:
    """What AWS surely lets through, and not just out of its bucket; 0 where nobody knows."""
    if state.searching:
        return min(good, state.before or math.inf)
    return good if state.grown >= regrowth.BACK_SECONDS else 0.0


def cut(state: SharedRate) -> SharedRate:
    """A cut became necessary; if it ends a recall, that was in vain."""
    known = state.known / FORGOTTEN if state.recalling else state.known
    return replace(state, known=known, recalling=False)
