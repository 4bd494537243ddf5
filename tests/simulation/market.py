"""The marketplace: a hidden quota, and a book of what was called."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

from worker.lab.simulator.quota import UNLIMITED, Quota, TokenBucket


@dataclass(slots=True)
class Token:
    """What a worker resolves.

    Attributes:
        throttles: How many more times it is throttled whatever the quota.
        failures: How many times it was throttled.
        number: Tells it from all others.
    """

    throttles: int = 0
    failures: int = 0
    number: int = field(default_factory=itertools.count().__next__)


@dataclass(slots=True)
class Market:
    """Lets calls through or throttles them.

    Attributes:
        quota: What is let through.
        good: Successes by (second, replica); replicas begin at 0, outsiders are -1.
        bad: Throttled calls, likewise.
    """

    quota: Quota = UNLIMITED
    good: Counter[tuple[int, int]] = field(default_factory=Counter)
    bad: Counter[tuple[int, int]] = field(default_factory=Counter)
    _bucket: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self._bucket = TokenBucket(self.quota, 0.0)

    def change(self, rate: float, burst: float, now: float) -> None:
        """Another quota from now on."""
        self.quota = Quota(rate, burst)
        self._bucket.change(self.quota, now)

    def call(self, token: Token, replica: int, now: float) -> bool:
        """Whether a call is let through."""
        if token.throttles > 0:
            token.throttles -= 1
            good = False
        else:
            good = self._bucket.take(now)
        (self.good if good else self.bad)[int(now), replica] += 1
        return good

    def successes(self, start: float, end: float) -> int:
        """The fleet's successes in [start, end), whole seconds."""
        return sum(n for (at, who), n in self.good.items() if start <= at < end and who >= 0)

    def throttled(self, start: float, end: float) -> int:
        """The fleet's throttled calls in [start, end), whole seconds."""
        return sum(n for (at, who), n in self.bad.items() if start <= at < end and who >= 0)

    def throttled_share(self, start: float, end: float) -> float:
        """What share of the fleet's calls was throttled."""
        bad = self.throttled(start, end)
        return bad / max(1, bad + self.successes(start, end))

    def used(self, start: float, end: float) -> float:
        """Successes as a share of quota and time."""
        return self.successes(start, end) / (self.quota.rate * (end - start))

    def fairness(self, start: float, end: float) -> float:
        """Jain's index of the replicas' successes: 1 where all have the same."""
        each: Counter[int] = Counter()
        for (at, who), n in self.good.items():
            if start <= at < end and who >= 0:
                each[who] += n
        return sum(each.values()) ** 2 / (len(each) * sum(n * n for n in each.values()))
