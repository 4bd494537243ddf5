"""The database's clock, as one process knows it, and whether ages may be reckoned by it.

A replica's own wall clock may be hours off, and so may a publisher's. The database's is the one
that all replicas share: each measures it with every lease and goes on from there on its loop's
clock, which no administrator sets. Whether the database's own clock is right, AWS's tells: each of
its answers carries a `Date`. Where the two differ, nothing is settled by age, and AWS decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

DISAGREEMENT_SECONDS: Final = 60.0
"""Database and AWS that differ by more are not both right: nothing is settled by age."""
UNREADY_SECONDS: Final = 30.0
"""A replica whose own clock is off by more says so at `/readyz`; AWS refuses it from 5 minutes."""
TOLD_SECONDS: Final = 2.0
"""`check` tells a clock that is off by more."""

_STALE_SECONDS: Final = 10.0
_SLACK_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Reading:
    """What another clock said.

    Attributes:
        instant: The time that it showed (UTC).
        at: When that was, in seconds of the loop's clock.
        error_seconds: By how much `at` may be off: half of the time that asking took.
    """

    instant: datetime
    at: float
    error_seconds: float = 0.0

    def on(self, at: float) -> datetime:
        """What that clock shows at another time of the loop's clock."""
        return self.instant + timedelta(seconds=at - self.at)


@dataclass(slots=True)
class DatabaseClock:
    """Readings of the database's clock, the best of them in use; the rest are arguments.

    Attributes:
        reading: The one in use, or None before the first.
    """

    reading: Reading | None = field(default=None)

    def measured(self, new: Reading) -> None:
        """Take up a reading if it is better than what there is, or shows that the clock was set."""
        old = self.reading
        if old is None or _replaces(old, new):
            self.reading = new

    def now(self, at: float, local: datetime) -> datetime:
        """The database's time at a time of the loop's clock; this machine's before any reading."""
        return local if self.reading is None else self.reading.on(at)

    def skew_seconds(self, at: float, local: datetime) -> float:
        """By how much this machine's clock is ahead of the database's; 0 before any reading."""
        return (local - self.now(at, local)).total_seconds()

    def ages_count(self, at: float, local: datetime, aws: Reading | None) -> bool:
        """Whether a token may be settled for its age: the database's clock has a witness.

        Args:
            at: Now, in seconds of the loop's clock.
            local: Now, by this machine's clock; the witness for as long as AWS has said nothing.
            aws: What AWS's clock said last.
        """
        witness = local if aws is None else aws.on(at)
        return abs((witness - self.now(at, local)).total_seconds()) <= DISAGREEMENT_SECONDS


def _replaces(old: Reading, new: Reading) -> bool:
    if new.at - old.at > _STALE_SECONDS or new.error_seconds <= old.error_seconds:
        return True
    apart = abs((new.instant - old.on(new.at)).total_seconds())
    return apart > old.error_seconds + new.error_seconds + _SLACK_SECONDS


def skew_words(seconds: float, aws_seconds: float | None) -> str:
    """What a skew means and what to do about it, for a person.

    Args:
        seconds: By how much this machine's clock is ahead of the database's.
        aws_seconds: By how much it is ahead of AWS's; None where AWS has not been heard.
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
