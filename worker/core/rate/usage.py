"""What a replica has to report of its calls. The clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.core.rate.fleet import Report

if TYPE_CHECKING:
    from collections.abc import Hashable

# A token that is throttled again within this time is the same one, and no second.
DISTINCT_SECONDS: Final = 2.5
_SPARE_SHARE: Final = 1.25
_STARVED_SHARE: Final = 0.05


@dataclass(slots=True)
class Usage:
    """Calls and throttles since the last report.

    Attributes:
        starved_seconds: How long tokens waited for a permit.
        busy_seconds: How long the calls that ended took, all together.
        since: When the last report was taken, in seconds of the caller's clock.
    """

    since: float
    calls: int = 0
    successes: int = 0
    throttled: int = 0
    tokens: int = 0
    starved_seconds: float = 0.0
    busy_seconds: float = 0.0
    _seen: dict[Hashable, float] = field(default_factory=dict)

    def not_throttled(self) -> None:
        """AWS let a call through; what came of it says nothing about the quota."""
        self.calls += 1
        self.successes += 1

    def refused(self, token: Hashable, now: float) -> None:
        """AWS said that there are too many calls."""
        self.calls += 1
        self.throttled += 1
        if now - self._seen.get(token, float("-inf")) >= DISTINCT_SECONDS:
            self._seen[token] = now
            self.tokens += 1

    def ended(self, seconds: float) -> None:
        """A call has ended that took so long, whatever came of it."""
        self.busy_seconds += seconds

    def starved(self, seconds: float) -> None:
        """A token has waited so long for a permit."""
        self.starved_seconds += seconds

    def report(self, now: float) -> Report:
        """What there is to report, and begin anew.

        A replica that was kept waiting needs all it can get; another, a little more than it used.
        """
        elapsed = max(now - self.since, 1e-3)
        starved = self.starved_seconds > _STARVED_SHARE * elapsed
        need = float("inf") if starved else _SPARE_SHARE * self.calls / elapsed
        told = Report(
            need,
            self.calls,
            self.successes,
            self.throttled,
            self.tokens,
            elapsed,
            self.busy_seconds,
        )
        self.since, self.starved_seconds, self.busy_seconds = now, 0.0, 0.0
        self.calls = self.successes = self.throttled = self.tokens = 0
        self._seen = {token: at for token, at in self._seen.items() if now - at < DISTINCT_SECONDS}
        return told
