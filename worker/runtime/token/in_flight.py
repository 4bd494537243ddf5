"""A token under way in this process, and all the deliveries that wait for what becomes of it."""

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
    """How far a token under way has come."""

    LOOKUP = auto()
    WAITING = auto()
    CALLING = auto()
    WRITING = auto()


@dataclass(frozen=True, slots=True)
class Waiter:
    """One submission that wants to know, and the delivery that is acked once it does.

    Attributes:
        late: A replay that joined when the call had been made: it wants one of its own.
    """

    submission: Submission
    delivery: Delivery
    lane: Lane
    late: bool = False


@dataclass(slots=True, eq=False)
class InFlightToken:
    """One token under way; concurrent copies of it join, and share its one call.

    Attributes:
        waiters: Who waits for it. Empty once all were given back to the broker.
        stage: How far it has come.
        attempts: Calls that count, those before this delivery included.
        failures: Calls since it was delivered that did not resolve it.
        systemic: Answers to it that are about us, or claim to be.
        first_call: When it was first called for since delivery (loop time), or None.
        line: The lane's line in which it waits for its call, or None.
        origin: Whose turns it waits for there.
    """

    key: TokenKey
    waiters: list[Waiter]
    stage: Stage = Stage.LOOKUP
    attempts: int = 0
    failures: int = 0
    systemic: SystemicAnswers = field(default_factory=SystemicAnswers)
    first_call: float | None = None
    line: Lane | None = None
    origin: Origin = NOBODY

    @property
    def leader(self) -> Waiter:
        """Whose submission decides: the latest replay, which must call, or else the first."""
        if len(self.waiters) == 1:
            return self.waiters[0]
        replays = [waiter for waiter in self.waiters if waiter.submission.replay is not None]
        return max(replays, key=_replayed) if replays else self.waiters[0]

    @property
    def lane(self) -> Lane:
        """The lane it belongs in: the first of those through which somebody waits for it."""
        if len(self.waiters) == 1:
            return self.waiters[0].lane
        return min((waiter.lane for waiter in self.waiters), key=tuple(Lane).index)

    @property
    def arrived(self) -> float:
        """When the first of its deliveries came (loop time)."""
        return min(waiter.delivery.arrived for waiter in self.waiters)

    def older(self, first_seen: datetime) -> None:
        """Let its age run from an earlier instant, which the ledger knows of."""
        self.waiters = [
            replace(waiter, submission=replace(waiter.submission, first_seen=first_seen))
            if first_seen < waiter.submission.first_seen
            else waiter
            for waiter in self.waiters
        ]

    def tries(self, now: float) -> Tries:
        """What has been spent on it by a time on the loop's clock."""
        seconds = 0.0 if self.first_call is None else now - self.first_call
        return Tries(self.attempts, self.failures, seconds, self.systemic.count)


def _replayed(waiter: Waiter) -> datetime:
    assert waiter.submission.replay is not None
    return waiter.submission.replay


@dataclass(slots=True)
class InFlight:
    """All tokens under way in this process, by key: concurrent copies share one call.

    The field calls it *singleflight*.
    """

    _by_key: dict[TokenKey, InFlightToken] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[InFlightToken]:
        return iter(tuple(self._by_key.values()))

    def of(self, key: TokenKey) -> InFlightToken | None:
        """The token with this key, if it is under way."""
        return self._by_key.get(key)

    def join(self, waiter: Waiter) -> InFlightToken | None:
        """Add a submission: the token that begins with it, or None if one was under way."""
        key = waiter.submission.key
        token = self._by_key.get(key)
        if token is not None:
            late = token.stage is Stage.WRITING and waiter.submission.replay is not None
            token.waiters.append(replace(waiter, late=True) if late else waiter)
            token.attempts = max(token.attempts, waiter.submission.attempts)
            return None
        token = InFlightToken(key, [waiter], attempts=waiter.submission.attempts)
        self._by_key[key] = token
        return token

    def rejoin(self, token: InFlightToken, waiter: Waiter) -> InFlightToken:
        """Add a waiter again that could not be moved: to this token, or to one begun meanwhile.

        Returns:
            The token that it waits for now.
        """
        current = self._by_key.setdefault(token.key, token)
        current.waiters.append(waiter)
        current.attempts = max(current.attempts, token.attempts)
        return current

    def drop_dead(self) -> None:
        """Forget deliveries that the broker will hand out anew, and tokens that have no other.

        A token that is being called for or written stays as it is: its answer is worth having,
        only nobody waits for it.
        """
        for token in self:
            if token.stage in {Stage.LOOKUP, Stage.WAITING}:
                token.waiters = [waiter for waiter in token.waiters if waiter.delivery.alive]
                if not token.waiters:
                    self.finish(token)

    def finish(self, token: InFlightToken) -> list[Waiter]:
        """Remove a token, and return the waiters that are to be answered.

        A copy that comes from now on begins anew.
        """
        if self._by_key.get(token.key) is token:
            del self._by_key[token.key]
        waiters, token.waiters = token.waiters, []
        return [waiter for waiter in waiters if waiter.delivery.alive]
