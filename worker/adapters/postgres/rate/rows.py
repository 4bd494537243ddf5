"""The fleet's state as a replica reads it, and the lease computed from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from worker.core.clock import Reading
from worker.core.rate import capacity, quota, shares
from worker.core.rate.fleet import NOTHING_IN_HAND, InHand, Lease, Pause

if TYPE_CHECKING:
    from worker.core.rate.capacity import Plan
    from worker.core.rate.fleet import ReplicaState, Report
    from worker.core.rate.state import SharedRate


_MOST_IN_HAND: Final = 1_000_000
_PLAN: Final = "capacity"


class _Living(NamedTuple):
    """A live replica, as `look.sql` lists it.

    Attributes:
        accepted_seconds: How long ago AWS last accepted one of its calls; None for never.
        live: What it has in hand of the live lane, as it says: JSON, which may be nonsense.
    """

    id: str
    need: str
    granted: float
    ceiling: float | None
    refused: bool
    accepted_seconds: float | None
    live: str | None = None


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """The result of `look.sql`.

    Attributes:
        clock: A reading of the database's clock.
        version: The version of the seller's row; 0 if there is none.
        state: The shared rate; None if none is known.
        nonsense: Whether the stored state can't have been written by this program.
        plan: For how many replicas there is work; None if none is known.
        foreign: Whether another version has written it, of which only the rate is known.
        singly: Whether permits are taken one by one.
        override: The ceiling that an operator has set: infinite for no ceiling, None if not set.
        granted: The share that this replica already has, in calls a second.
        others: The other live replicas.
        deaths: Number of replicas that died recently.
        outbox_keys: Routing keys of the events that wait in the outbox.
    """

    clock: Reading
    version: int
    state: SharedRate | None
    plan: Plan | None
    nonsense: bool
    foreign: bool
    singly: bool
    override: float | None
    granted: float
    others: tuple[_Living, ...]
    pause: Pause | None
    deaths: int
    outbox_keys: frozenset[str]

    @classmethod
    def of(cls, row: Any, replica: str, *, asked: float, heard: float) -> FleetSnapshot:
        """Read the row of `look.sql` from this replica's point of view.

        Args:
            row: The row.
            replica: This replica's ID.
            asked: When the query was sent, in seconds of the loop's clock.
            heard: When its result arrived.
        """
        living = [_Living(*each) for each in orjson.loads(row["living"] or "[]")]
        instant = datetime.fromtimestamp(row["now"], UTC)
        stored = parsed(row["state"])
        state = quota.restored(stored)
        return cls(
            clock=Reading(instant, (asked + heard) / 2, (heard - asked) / 2),
            version=row["version"],
            state=state,
            plan=plan_of(stored),
            nonsense=state is None and row["state"] is not None,
            foreign=state is not None and not quota.own(stored),
            singly=row["singly"],
            override=row["ceiling"],
            granted=next((each.granted for each in living if each.id == replica), 0.0),
            others=tuple(each for each in living if each.id != replica),
            pause=pause_of(row),
            deaths=row["deaths"],
            outbox_keys=frozenset(row["outbox_keys"]),
        )

    @property
    def now(self) -> float:
        """The database's time, in epoch seconds."""
        return self.clock.instant.timestamp()

    @property
    def replicas(self) -> int:
        """How many are live, with this one."""
        return len(self.others) + 1

    @property
    def refused(self) -> int:
        """Other live replicas that AWS refuses."""
        return sum(each.refused for each in self.others)

    @property
    def claims(self) -> tuple[shares.Claim, ...]:
        """The needs and present shares of the other live replicas."""
        return tuple(shares.Claim(float(each.need), each.granted) for each in self.others)

    @property
    def accepted_elsewhere(self) -> float | None:
        """When AWS last accepted a call of another replica that it does not refuse (loop time)."""
        ages = [each.accepted_seconds for each in self.others if not each.refused]
        known = [age for age in ages if age is not None]
        return self.clock.at - min(known) if known else None

    @property
    def live_elsewhere(self) -> InHand:
        """What the other replicas have in hand of the live lane."""
        found = [_in_hand(each.live) for each in self.others]
        oldest = max((each.oldest_seconds for each in found), default=0.0)
        return InHand(sum(each.messages for each in found), oldest)

    def ceiling(self, own: float | None) -> float | None:
        """The ceiling in force, given this replica's `own`; None for none."""
        if self.override is not None:
            return None if math.isinf(self.override) else self.override
        ceilings = (own, *(each.ceiling for each in self.others))
        return min((each for each in ceilings if each is not None), default=None)


def plan_of(state: object) -> Plan | None:
    """The plan in a stored state; None if there is none."""
    return capacity.restored(state.get(_PLAN)) if isinstance(state, Mapping) else None


def pause_of(row: Any) -> Pause | None:
    """The pause in a row of `quota`, if calls are paused."""
    if row["paused_at"] is None:
        return None
    return Pause(row["pause_actor"], row["pause_reason"], row["paused_at"], row["pause_until"])


def grant(
    snapshot: FleetSnapshot,
    report: Report,
    replica: ReplicaState,
    *,
    initial: float,
    ceiling: float | None,
) -> tuple[dict[str, Any], Lease]:
    """The next state of the shared rate, to be stored, and this replica's lease.

    Args:
        snapshot: The fleet's state.
        report: This replica's report.
        replica: What this replica tells of itself.
        initial: Calls a second at which the search starts if no quota is known.
        ceiling: The ceiling in this replica's settings.
    """
    most = snapshot.ceiling(ceiling)
    # The ceiling limits the rate in use, not the known quota, so that raising it works at once.
    known = snapshot.state or quota.initial(initial, snapshot.now)
    state = quota.advance(known, report, snapshot.now, snapshot.replicas)
    rate = state.rate if most is None else min(state.rate, most)
    plan = _plan(snapshot, report, replica, rate)
    lease = Lease(
        rate=rate,
        share=shares.share(rate, shares.Claim(report.need, snapshot.granted), snapshot.claims),
        singly=shares.singly(rate, snapshot.replicas, now_singly=snapshot.singly),
        ceiling=most,
        replicas=snapshot.replicas,
        pause=snapshot.pause,
        able=len(snapshot.others) - snapshot.refused,
        refused=snapshot.refused,
        accepted_elsewhere=snapshot.accepted_elsewhere,
        deaths=snapshot.deaths,
        clock=snapshot.clock,
        outbox_keys=snapshot.outbox_keys,
        live_elsewhere=snapshot.live_elsewhere,
        wanted=plan.replicas or None,
    )
    return quota.stored(state) | {_PLAN: capacity.stored(plan)}, lease


def _plan(snapshot: FleetSnapshot, report: Report, replica: ReplicaState, rate: float) -> Plan:
    """For how many replicas there is work after this report."""
    plan = snapshot.plan or capacity.begun(replica.concurrency, snapshot.now)
    paused = snapshot.pause is not None
    return capacity.advance(plan, report, replica, snapshot.now, rate=rate, paused=paused)


def _in_hand(told: str | None) -> InHand:
    """What a replica says of a lane; nothing where it says none, or what can't be."""
    match parsed(told):
        case [int(messages), int() | float() as seconds] if 0 <= messages <= _MOST_IN_HAND:
            return InHand(messages, float(seconds))
    return NOTHING_IN_HAND


def parsed(text: str | None) -> object:
    """A JSON document of the database; None where there is none, or none that can be read."""
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:  # a number too large for a float
        return None
