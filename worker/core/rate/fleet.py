"""What the replicas of a fleet tell each other, through a row in the database."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.core.clock import Reading
    from worker.core.records import Fault


@dataclass(frozen=True, slots=True)
class Report:
    """What one replica has seen since its last report.

    Attributes:
        need: Calls a second it could use; infinite while tokens wait for a permit.
        calls: Attempts made, whatever came of them.
        successes: Those that AWS let through, whatever came of them.
        throttled: Calls that AWS throttled.
        tokens: How many distinct tokens those were.
        seconds: How long that took; 0 where it is not known, which is about one second.
        busy_seconds: How long the calls that ended took, all together.
    """

    need: float = 0.0
    calls: int = 0
    successes: int = 0
    throttled: int = 0
    tokens: int = 0
    seconds: float = 0.0
    busy_seconds: float = 0.0

    def __add__(self, other: Report) -> Report:
        """Both together, with the need of the later: for a report that got lost on its way."""
        return Report(
            other.need,
            self.calls + other.calls,
            self.successes + other.successes,
            self.throttled + other.throttled,
            self.tokens + other.tokens,
            self.seconds + other.seconds,
            self.busy_seconds + other.busy_seconds,
        )


@dataclass(frozen=True, slots=True)
class Pause:
    """Calls are stopped by an operator.

    Attributes:
        until: When it ends by itself; None if it lasts until somebody ends it.
    """

    actor: str
    reason: str
    since: datetime
    until: datetime | None = None

    def __str__(self) -> str:
        """Who has stopped them, why, and until when."""
        return f"paused by {self.actor}{self.ending}: {self.reason}"

    @property
    def ending(self) -> str:
        """When it ends by itself, to follow other words; empty if it does not."""
        return "" if self.until is None else f", until {self.until:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """What a replica tells the others of itself with each lease.

    Attributes:
        identity: As whom it calls AWS, as digits that give nothing away.
        refusal: Why AWS refuses its calls, or None while it accepts them.
        refused_seconds: For how long.
        probes: How often it has looked since whether that is over.
        accepted_seconds: How long ago AWS last accepted a call of its; None for never.
        suspected: Messages that it handles apart, since one of them may end the process.
        skew_seconds: By how much its machine's clock is ahead of the database's.
        in_hand: By lane, its unacked messages and the seconds since the oldest was received.
        concurrency: Calls that it may have in flight.
        live: Live submissions that are not settled, of all replicas; None while it does not know
            how many wait in the queue.
        bulk: The same of backlog and crowd.
    """

    identity: str = ""
    refusal: Fault | None = None
    refused_seconds: float = 0.0
    probes: int = 0
    accepted_seconds: float | None = None
    suspected: int = 0
    skew_seconds: float = 0.0
    in_hand: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    concurrency: int = 1
    live: int | None = None
    bulk: int | None = None


class InHand(NamedTuple):
    """Messages of a lane that replicas have in hand, and the age of the oldest of them."""

    messages: int = 0
    oldest_seconds: float = 0.0


NOTHING_IN_HAND: Final = InHand()


@dataclass(frozen=True, slots=True)
class Lease:
    """How a replica may go on until its next report, in about a second.

    Attributes:
        rate: Calls a second of all replicas together.
        share: Those that are this replica's.
        singly: The rate is so low that each permit is asked for by itself.
        ceiling: The most that `rate` may be, by setting or command; None for no bound.
        replicas: How many share.
        pause: Why an operator has stopped all calls, or None.
        able: Other live replicas that AWS does not refuse.
        refused: Other live replicas that it does.
        accepted_elsewhere: When AWS last accepted a call of one that is able, in seconds of the
            loop's clock; None for never.
        deaths: Replicas that died in the last ten minutes: they stopped without a goodbye.
        clock: What the database's clock showed; None where it was not read.
        outbox_keys: Routing keys of the events that wait in the outbox: nobody publishes under
            these but the one who has the outbox's turn.
        live_elsewhere: Live messages that the other replicas have in hand.
        wanted: How many replicas the rate and what waits are worth; None while that is unknown.
    """

    rate: float
    share: float
    singly: bool = False
    ceiling: float | None = None
    replicas: int = 1
    pause: Pause | None = None
    able: int = 0
    refused: int = 0
    accepted_elsewhere: float | None = None
    deaths: int = 0
    clock: Reading | None = None
    outbox_keys: frozenset[str] = frozenset()
    live_elsewhere: InHand = NOTHING_IN_HAND
    wanted: int | None = None


_KEPT_SECONDS: Final = 3.0
_HALF_LIFE_SECONDS: Final = 5.0
_LEAST_SHARE: Final = 0.05


def decayed(share: float, seconds: float) -> float:
    """What may be used of a share that could not be renewed for so long.

    After three seconds the others hold this replica for dead and divide its share; so it halves
    from then on, down to a twentieth.
    """
    halvings = max(0.0, seconds - _KEPT_SECONDS) / _HALF_LIFE_SECONDS
    return max(_LEAST_SHARE * share, share * math.pow(0.5, halvings))
