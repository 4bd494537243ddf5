"""What the reports of one epoch tell of the quota."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core.rate import background, recall, regrowth

if TYPE_CHECKING:
    from worker.core.rate.state import SharedRate

LEAST_SECONDS: Final = 2.0
LONGEST_SECONDS: Final = 10.0
LEAST_CALLS: Final = 8.0  # fewer do not tell a quota that is a tenth too low from chance
MEASURING_SECONDS: Final = 1.1  # until each replica has reported once more

CONGESTED: Final = 2.0  # one token may be throttled for a reason of its own
SIGMAS: Final = 3.0  # above what is throttled at any rate; less would be chance
STRONG_THROTTLES: Final = 5.0
STRONG_TOKENS: Final = 4  # fewer may be throttled several times each, for reasons of their own
STRONG_SHARE: Final = 0.3

FEW: Final = 4.0  # calls a second, below which two throttles hardly fall into one epoch
FULL_GROWTH: Final = 20.0  # below FEW the rate grows in proportion to itself over this
LEAST_OF_FEW: Final = 0.7  # so few calls hardly measure successes a second
FEW_PEAK: Final = 0.84
FEW_CALLS: Final = 20  # fewer do not measure successes a second
NEEDED: Final = 0.3  # of the rate is called at least, or the rate says nothing of the quota
USED_IN_DOUBT: Final = 0.35  # replicas that are throttled at any rate slow themselves down
USED: Final = 0.75  # of the rate is called at least, or it does not grow
LEAST_AT_ONCE: Final = 0.4  # what was counted in so short a time is partly from before a drop
STRONG_PEAK: Final = 1.35  # measured while replicas slowed themselves down far below the quota
HEARD_SECONDS: Final = 1.0  # before a cut has settled, most replicas have heard of it
FAR: Final = 1.3  # times the successes: a cut that settles is not waited for
OVERSHOT_FAR: Final = 2.0
LEAST_GENTLE: Final = 0.7
SLOWED: Final = 0.8  # of what the share tells: below, replicas have slowed themselves down
NEAR: Final = 0.93  # of a rate that was a little too high is the quota at least

SLIGHT_SHARE: Final = 0.1  # replicas slow down to four fifths, the square of what remains
PASSING_SHARE: Final = 0.2  # a quota just that much below the rate would be a rare chance
RISEN: Final = 1.2  # times the quota as it was measured: it has risen, then

GROWN_IN_VAIN: Final = 1.3  # times the rate
FRUITS: Final = 1.1  # times the successes, with chance allowed for


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch so far.

    Attributes:
        state: The shared rate, with what was counted in this epoch.
        seconds: How long it has lasted.
        replicas: How many replicas report; 0 where that is not known.
    """

    state: SharedRate
    seconds: float
    replicas: int

    def rate_of(self, count: int) -> float:
        """So many reported, as a rate a second: a report tells of a second of one replica."""
        if self.replicas:
            return count * self.replicas / max(1, self.state.reports)
        return count / max(1.0, self.seconds)

    @property
    def over(self) -> bool:
        """Whether enough is known to decide; strong evidence needs no more time."""
        state = self.state
        if state.settling:
            far = OVERSHOT_FAR if state.overshot else FAR
            heard = self.seconds > -HEARD_SECONDS
            return heard and self.strong and state.rate > far * self.rate_of(state.successes)
        if self.strong:
            return True
        if self.congested:
            return self.seconds >= _span(state.rate, MEASURING_SECONDS)
        alone = 2.0 if state.throttled else 1.0  # time for a second token to be throttled
        return self.seconds >= alone * _span(state.rate, LEAST_SECONDS)

    @property
    def strong(self) -> bool:
        """So many calls are throttled that the rate must be far too high."""
        state = self.state
        least = max(STRONG_THROTTLES, STRONG_SHARE * state.calls)
        return state.tokens >= STRONG_TOKENS and state.throttled >= least

    @property
    def share(self) -> float:
        """The part of the calls that was throttled."""
        return self.state.throttled / max(1, self.state.calls)

    @property
    def slight(self) -> bool:
        """Whether so few calls are throttled that replicas need not have slowed down."""
        return self.share <= SLIGHT_SHARE

    @property
    def rising(self) -> bool:
        """Whether a quota is searched that must be far higher than the last that was measured."""
        state = self.state
        return state.searching or recall.fallen(state) or state.rate >= RISEN * state.peak

    @property
    def passing(self) -> bool:
        """Whether these throttles are not to stop a search.

        A search takes large steps: if its quota is reached, the next one shows it beyond doubt, and
        soon. Until then a few throttled tokens may have reasons of their own.
        """
        state = self.state
        if state.searching:
            return self.used and not self.strong
        alone = state.tokens < CONGESTED
        most = PASSING_SHARE if state.recalling or alone else SLIGHT_SHARE
        return self.rising and self.used and self.share <= most

    @property
    def congested(self) -> bool:
        """Whether two tokens or more were throttled, beyond those that are at any rate."""
        state = self.state
        expected = background.share(state) * state.calls
        return state.tokens >= max(CONGESTED, expected + SIGMAS * math.sqrt(expected))

    @property
    def used(self) -> bool:
        """Whether the rate is what limits the calls."""
        doubted = background.share(self.state) or (self.state.throttled and self.rising)
        return self._called(USED_IN_DOUBT if doubted else USED)

    def _called(self, part: float) -> bool:
        calls = self.state.calls  # and one that is due at this moment
        return calls > 0 and self.rate_of(calls + 1) >= part * self.state.rate

    @property
    def fruitless(self) -> bool:
        """Whether a rate that grew in spite of throttles has brought no more successes."""
        state = self.state
        grown = background.share(state) > 0 and state.rate >= GROWN_IN_VAIN * state.peak
        needed = self._called(USED * (1.0 - self.share) ** 2)
        return grown and needed and self.rate_of(state.successes) < FRUITS * state.low

    @property
    def growth_seconds(self) -> float:
        """How far along its curve the rate may go for this epoch.

        Where calls are few each throttle is a large share of them, so near the quota the rate grows
        by calls rather than by time.
        """
        if not 1.0 < self.state.rate < FEW:
            return self.seconds
        if regrowth.BACK_SECONDS <= self.state.grown < regrowth.SEARCH_SECONDS:
            return self.seconds * self.state.rate / FULL_GROWTH
        return max(LEAST_SECONDS, self.seconds / 2)

    @property
    def measured(self) -> tuple[float, float]:
        """The successes a second, to cut to, and the quota that they tell of, to grow back to.

        While the quota is the limit, successes are the quota; but replicas slow themselves down
        when they are throttled, and then make fewer calls than AWS would let through. So where
        only some were throttled, the rate less that share is the better witness of the quota.
        """
        state = self.state
        share = (state.throttled - 1) / max(1, state.calls, state.throttled)
        by_share = state.rate * (1.0 - share)
        by_time = min(by_share, self.rate_of(state.successes))
        if state.calls >= FEW_CALLS and self.rate_of(state.calls) < NEEDED * state.rate:
            return by_time, 1.1 * by_time  # a rate that nothing needed says nothing of the quota
        if self.strong:
            return self._strongly_measured(by_time)
        if state.calls < FEW_CALLS:
            return state.rate, max(by_share, NEAR * state.rate)
        if by_time >= SLOWED * by_share:
            return by_time, max(by_share, NEAR * state.rate)
        return max(by_time, LEAST_GENTLE * by_share), (by_share + by_time) / 2

    def _strongly_measured(self, by_time: float) -> tuple[float, float]:
        """The same, where the rate must be far too high and little time has passed."""
        state = self.state
        if state.rate < FEW and state.calls < FEW_CALLS:
            strong = max(by_time, LEAST_OF_FEW * state.rate)
            return strong, max(strong, FEW_PEAK * state.rate)
        strong = max(by_time, LEAST_AT_ONCE * state.rate)
        return strong, STRONG_PEAK * strong


def _span(rate: float, least: float) -> float:
    return min(LONGEST_SECONDS, max(least, LEAST_CALLS / max(rate, 0.1)))
