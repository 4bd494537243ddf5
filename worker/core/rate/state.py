"""What all replicas of a seller account share of the rate, as it is stored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SharedRate:
    """The rate of a seller account and what led to it.

    Attributes:
        rate: Calls a second of all replicas together.
        epoch_began: Since when reports count, in epoch seconds of the database; lies ahead while
            a cut settles.
        updated: When the last report came.
        calls: Attempts reported in this epoch.
        successes: Those of them that AWS let through.
        throttled: Those of them that were throttled.
        tokens: How many distinct tokens those were.
        reports: How many reports these came in, each of about a second of one replica; one of a
            replica that was held up for several seconds counts as so many.
        settling: Not all replicas have gone by the last cut yet.
        overshot: The last cut came of a search that went too far: the quota is not far below.
        low: The rate right after the last cut.
        peak: The quota as measured at the last cut.
        before: The rate before it last grew, at which nothing was throttled.
        known: The most that was surely let through a second; see `worker.core.rate.recall`.
        recalling: The rate grows towards that again.
        grown: Seconds of growth since the cut; time in which the rate was not used is left out.
        searching: No cut was ever needed: the rate doubles each epoch.
        clean: Calls in a row of which none was throttled.
        proven: What was let through a second at the last cut: fewer calls should not be throttled.
        safe_calls: Calls of late right after such cuts; see `worker.core.rate.background`.
        safe_throttled: Tokens throttled in these.
    """

    rate: float
    epoch_began: float
    updated: float = 0.0
    calls: int = 0
    successes: int = 0
    throttled: int = 0
    tokens: int = 0
    reports: int = 0
    settling: bool = False
    overshot: bool = False
    low: float = 0.0
    peak: float = 0.0
    before: float = 0.0
    known: float = 0.0
    recalling: bool = False
    grown: float = 0.0
    searching: bool = True
    clean: int = 0
    proven: float = 0.0
    safe_calls: int = 0
    safe_throttled: int = 0
