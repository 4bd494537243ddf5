"""A token in this process, and all the deliveries that wait for what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from worker.core.records import NOBODY, Lane
from worker.core.token.systemic_answers import SystemicAnswers
from worker.core.token.verdict import Tries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from worker.core.records import Origin, Submission, TokenKey
    from worker.ports import Delivery


class Stage(Enum):
    """How far a flight has come."""

    LOOKUP = auto()
    WAITING = auto()
    CALLING = auto()
    WRITING = auto()


@dataclass(frozen=True, slots=True)
class Party:
    """One submission that wants to know, and the delivery that is acked once it does.

    Attributes:
        late: A replay that joined when the call had been made: it wants one of its own.
    """

    submission: Submission
    delivery: Delivery
    lane: Lane
    late: bool = False


@dataclass(slots=True, eq=False)
class Flight:
    """One token on its way; concurrent copies of it join and share its one call.

    Attributes:
        parties: Who waits. Empty once all were given back to the broker.
        stage: How far it has come.
        attempts: Calls that count, those before this delivery included.
        failures: Calls without an answer since it was delivered.
        systemic: Answers to it that are about us, or claim to be.
        first_call: When it was first called for since delivery (loop time), or None.
        line: The line it stands in while it waits for its call, or None.
        origin: Whose turns it waits for there.
    """

    key: TokenKey
    parties: list[Party]
    stage: Stage = Stage.LOOKUP
    attempts: int = 0
    failures: int = 0
    systemic: SystemicAnswers = field(default_factory=SystemicAnswers)
    first_call: float | None = None
    line: Lane | None = None
    origin: Origin = NOBODY

    @property
    def leader(self) -> Party:
        """Whose submission decides: the latest replay, which must call, or else the first."""
        replays = [party for party in self.parties if party.submission.replay is not None]
        return max(replays, key=_replayed) if replays else self.parties[0]

    @property
    def lane(self) -> Lane:
        """The lane it belongs in: the first of those through which somebody waits for it."""
        return min((party.lane for party in self.parties), key=tuple(Lane).index)

    @property
    def arrived(self) -> float:
        """When the first of its deliveries came (loop time)."""
        return min(party.delivery.arrived for party in self.parties)

    def older(self, first_seen: datetime) -> None:
        """Let its age run from an earlier instant, which the ledger knows of."""
        self.parties = [
            replace(party, submission=replace(party.submission, first_seen=first_seen))
            if first_seen < party.submission.first_seen
            else party
            for party in self.parties
        ]

    def tries(self, now: float) -> Tries:
        """What has been spent on it by a time on the loop's clock."""
        seconds = 0.0 if self.first_call is None else now - self.first_call
        return Tries(self.attempts, self.failures, seconds, self.systemic.count)


def _replayed(party: Party) -> datetime:
    assert party.submission.replay is not None
    return party.submission.replay


@dataclass(slots=True)
class Flights:
    """All flights of this process, by token."""

    _by_key: dict[TokenKey, Flight] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Flight]:
        return iter(tuple(self._by_key.values()))

    def of(self, key: TokenKey) -> Flight | None:
        """The flight of a token, if there is one."""
        return self._by_key.get(key)

    def board(self, party: Party) -> Flight | None:
        """Take a submission aboard: its new flight, or None if it joined one under way."""
        key = party.submission.key
        flight = self._by_key.get(key)
        if flight is not None:
            late = flight.stage is Stage.WRITING and party.submission.replay is not None
            flight.parties.append(replace(party, late=True) if late else party)
            flight.attempts = max(flight.attempts, party.submission.attempts)
            return None
        flight = Flight(key, [party], attempts=party.submission.attempts)
        self._by_key[key] = flight
        return flight

    def reboard(self, flight: Flight, party: Party) -> Flight:
        """Take a party aboard again that was to leave with a flight; the flight it is on now."""
        standing = self._by_key.setdefault(flight.key, flight)
        standing.parties.append(party)
        standing.attempts = max(standing.attempts, flight.attempts)
        return standing

    def drop_dead(self) -> None:
        """Forget deliveries that the broker will hand out anew, and flights that have no other.

        A flight that is being called for or written stays as it is, for its answer is worth
        having; only nobody is told.
        """
        for flight in self:
            if flight.stage in {Stage.LOOKUP, Stage.WAITING}:
                flight.parties = [party for party in flight.parties if party.delivery.alive]
                if not flight.parties:
                    self.land(flight)

    def land(self, flight: Flight) -> list[Party]:
        """Take a flight off the board, and return who is left to be told.

        A copy that comes from now on is a flight of its own.
        """
        if self._by_key.get(flight.key) is flight:
            del self._by_key[flight.key]
        parties, flight.parties = flight.parties, []
        return [party for party in parties if party.delivery.alive]
