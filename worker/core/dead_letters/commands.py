"""What commands on dead letters need: who acts, what would happen, what has happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from worker.core.dead_letters.replay import Eligibility, OutcomeCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime


class Actor(NamedTuple):
    """Who acts, by their own account, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """How many dead letters of one group a replay would treat alike."""

    group: str
    reason: str
    error_code: str
    eligibility: Eligibility
    letters: int
    first_expiry: datetime | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a replay would do."""

    forecasts: tuple[Forecast, ...]

    def count(self, *wanted: Eligibility) -> int:
        """Return how many dead letters have one of these eligibilities."""
        return sum(each.letters for each in self.forecasts if each.eligibility in wanted)

    @property
    def letters(self) -> int:
        """How many were chosen."""
        return sum(each.letters for each in self.forecasts)

    @property
    def ready(self) -> int:
        """How many would be replayed."""
        return self.count(Eligibility.READY)

    def ready_groups(self) -> Iterator[Forecast]:
        """Those that would be replayed, by group."""
        return (each for each in self.forecasts if each.eligibility is Eligibility.READY)

    def left_out(self) -> dict[Eligibility, int]:
        """Return how many would not be replayed, by reason."""
        others = (each for each in Eligibility if each is not Eligibility.READY)
        return {each: count for each in others if (count := self.count(each))}


class Holder(NamedTuple):
    """Another replay that has claims on dead letters that were chosen."""

    replay: int
    heartbeat_at: datetime
    letters: int


class Result(NamedTuple):
    """The outcome of one dead letter that was replayed."""

    id: int
    message_id: str
    state: str
    reason: str
    error_code: str
    error_message: str

    @property
    def is_resolved(self) -> bool:
        """Whether its token is resolved."""
        return self.state == "resolved"


def count_outcomes(results: Iterable[Result]) -> OutcomeCounts:
    """Return how many are resolved and how many failed again."""
    outcomes = [result.is_resolved for result in results]
    return OutcomeCounts(sum(outcomes), len(outcomes) - sum(outcomes))


class KeyUse(NamedTuple):
    """How many payloads are sealed to one key, and when the newest of them failed."""

    key_id: str
    letters: int
    newest: datetime


@dataclass(slots=True)
class Account:
    """What a replay has done so far.

    Attributes:
        replay: Its number; None before it began.
        chosen: Dead letters that were ready when it began.
        published: Dead letters whose message the broker confirmed.
        unmarked: Those of them that could not be marked as published in the database.
        refused: Dead letters that could not be opened or read, by reason.
        counts: Outcomes of those published, where they were looked at.
        canaries: Outcomes of the canaries that have one.
        silent: Canaries without an outcome in time.
        held: Dead letters that other running replays have claimed.
        stopped: Why it ended early, or None.
        state: How it ended.
        left: Dead letters that are still to be replayed; None where that is unknown.
    """

    replay: int | None = None
    chosen: int = 0
    published: int = 0
    unmarked: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    counts: OutcomeCounts = field(default_factory=OutcomeCounts)
    canaries: tuple[Result, ...] = ()
    silent: int = 0
    held: int = 0
    stopped: str | None = None
    state: str = "finished"
    left: int | None = None

    def refuse(self, why: str, count: int = 1) -> None:
        """Count so many more that can't be opened or read."""
        self.refused[why] = self.refused.get(why, 0) + count

    def stop(self, why: str, state: str = "interrupted") -> None:
        """Note that it ends early, and why; the first reason counts."""
        if self.stopped is None:
            self.stopped, self.state = why, state

    @property
    def refusals(self) -> int:
        """How many dead letters were refused."""
        return sum(self.refused.values())
