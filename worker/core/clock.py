"""One process's estimate of the database's clock, and whether tokens' ages may be based on it.

A replica's own wall clock may be hours off, and so may a publisher's. The database's clock is the
one that all replicas share: each measures it with every lease and extrapolates with its event
loop's monotonic clock. The `Date` header of AWS's responses shows whether the database's own clock
is right. Where the two differ, no token is settled because of its age, and AWS decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

DISAGREEMENT_SECONDS: Final = 60.0
"""If database and AWS differ by more, one of them is wrong: no token is settled by its age."""
UNREADY_SECONDS: Final = 30.0
"""A replica whose own clock is off by more is not ready; AWS refuses it from 5 minutes."""
TOLD_SECONDS: Final = 2.0
"""`check` reports a clock that is off by more."""

_STALE_SECONDS: Final = 10.0
_SLACK_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading of another clock.

    Attributes:
        instant: The time it showed (UTC).
        at: When it was read, in seconds of the loop's clock.
        error_seconds: How much `at` may be off: half of the round-trip time.
    """

    instant: datetime
    at: float
    error_seconds: float = 0.0

    def on(self, at: float) -> datetime:
        """The other clock's time at a given time of the loop's clock."""
        return self.instant + timedelta(seconds=at - self.at)


@dataclass(slots=True)
class DatabaseClock:
    """The database's clock, by the best reading so far. This machine's clocks are arguments.

    Attributes:
        reading: The reading in use; None before the first.
    """

    reading: Reading | None = field(default=None)

    def measured(self, new: Reading) -> None:
        """Use a reading if it is more exact than the old one, or shows that the clock was set."""
        old = self.reading
        if old is None or _replaces(old, new):
            self.reading = new

    def now(self, at: float, local: datetime) -> datetime:
        """The database's time at a time of the loop's clock; `local` before any reading."""
        return local if self.reading is None else self.reading.on(at)

    def skew_seconds(self, at: float, local: datetime) -> float:
        """Seconds by which this machine's clock is ahead of the database's; 0 without a reading."""
        return (local - self.now(at, local)).total_seconds()

    def ages_count(self, at: float, local: datetime, aws: Reading | None) -> bool:
        """Whether a token may be settled because of its age: another clock confirms the database's.

        Args:
            at: Now, in seconds of the loop's clock.
            local: Now, by this machine's clock; used for comparison until AWS has responded.
            aws: The last reading of AWS's clock.
        """
        other = local if aws is None else aws.on(at)
        return abs((other - self.now(at, local)).total_seconds()) <= DISAGREEMENT_SECONDS


def _replaces(old: Reading, new: Reading) -> bool:
    if new.at - old.at > _STALE_SECONDS or new.error_seconds <= old.error_seconds:
        return True
    apart = abs((new.instant - old.on(new.at)).total_seconds())
    return apart > old.error_seconds + new.error_seconds + _SLACK_SECONDS


def skew_words(seconds: float, aws_seconds: float | None) -> str:
    """A message about a clock skew, with what to do about it.

    Args:
        seconds: How much this machine's clock is ahead of the database's.
        aws_seconds: How much it is ahead of AWS's; None if AWS has not responded yet.
    """
    way = "ahead of" if seconds > 0 else "behind"
    off = f"this machine's clock is {abs(seconds):.0f} s {way} the database's"
    if aws_seconds is None:
        return f"{off}; set both by NTP"
    if abs(aws_seconds) <= UNREADY_SECONDS:
        return f"{off}, and AWS agrees with this machine: set the database server's clock by NTP"
    if abs(seconds - aws_seconds) <= UNREADY_SECONDS:
        return f"{off}, and AWS agrees with the database: set this machine's clock by NTP"
    return f"{off}, and AWS agrees with neither: set both by NTP"
