"""What is known while letters are acted upon: who acts, what would happen, what has happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from worker.core.dead_letters.replay import Fate, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime


class Actor(NamedTuple):
    """Who acts, as they say, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """How many letters of one group share one fate."""

    group: str
    reason: str
    error_code: str
    fate: Fate
    letters: int
    first_expiry: datetime | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a replay would do."""

    forecasts: tuple[Forecast, ...]

    def count(self, *fates: Fate) -> int:
        """How many letters have one of these fates."""
        return sum(each.letters for each in self.forecasts if each.fate in fates)

    @property
    def letters(self) -> int:
        """How many were chosen."""
        return sum(each.letters for each in self.forecasts)

    @property
    def ready(self) -> int:
        """How many would be replayed."""
        return self.count(Fate.READY)

    def ready_groups(self) -> Iterator[Forecast]:
        """Those that would be replayed, by group."""
        return (each for each in self.forecasts if each.fate is Fate.READY)

    def left_out(self) -> dict[Fate, int]:
        """How many would not, by why."""
        counts = {fate: self.count(fate) for fate in Fate if fate is not Fate.READY}
        return {fate: count for fate, count in counts.items() if count}


class Holder(NamedTuple):
    """Another replay that holds claims on letters that were chosen."""

    replay: int
    heartbeat_at: datetime
    letters: int


class Result(NamedTuple):
    """What became of one letter that was replayed."""

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


def tally(results: Iterable[Result]) -> Tally:
    """How many are resolved and how many have failed again."""
    outcomes = [result.is_resolved for result in results]
    return Tally(sum(outcomes), len(outcomes) - sum(outcomes))


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
        chosen: Letters that were ready when it began.
        published: Letters that the broker has.
        unmarked: Those of them of which the database could not be told.
        refused: Letters that could not be opened or read, by why.
        tally: What became of those published, where it was watched.
        canaries: What became of the canaries that have an outcome.
        silent: Canaries without an outcome in time.
        held: Letters that other running replays hold.
        stopped: Why it ended before its time, or None.
        state: How it ended.
        left: Letters that are still to be replayed; None where nobody could say.
    """

    replay: int | None = None
    chosen: int = 0
    published: int = 0
    unmarked: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    canaries: tuple[Result, ...] = ()
    silent: int = 0
    held: int = 0
    stopped: str | None = None
    state: str = "finished"
    left: int | None = None

    def refuse(self, why: str, count: int = 1) -> None:
        """So many more can't be opened or read."""
        self.refused[why] = self.refused.get(why, 0) + count

    def stop(self, why: str, state: str = "interrupted") -> None:
        """It ends before its time; the first reason counts."""
        if self.stopped is None:
            self.stopped, self.state = why, state

    @property
    def refusals(self) -> int:
        """How many letters were refused."""
        return sum(self.refused.values())
