"""What a replica sees of its fleet, and the lease that follows from it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from worker.core.clock import Reading
from worker.core.rate import quota, shares
from worker.core.rate.fleet import Lease, Pause

if TYPE_CHECKING:
    from worker.core.rate.fleet import Report
    from worker.core.rate.state import SharedRate


class _Living(NamedTuple):
    """A live replica, as `fleet_look.sql` lists it.

    Attributes:
        accepted_seconds: How long ago AWS last accepted a call of its; None for never.
    """

    id: str
    need: str
    granted: float
    ceiling: float | None
    refused: bool
    accepted_seconds: float | None


@dataclass(frozen=True, slots=True)
class FleetSnapshot:
    """What `fleet_look.sql` returns.

    Attributes:
        clock: What the database's clock showed.
        version: Of the seller's row; 0 where there is none.
        state: The shared rate, or None where none is known.
        nonsense: A state is stored that no version of this program writes.
        singly: Whether permits are asked for one by one.
        override: The ceiling by an operator's word: Infinity for none at all, None for no word.
        granted: What this replica has already.
        others: The other live replicas.
        deaths: Replicas that died lately.
        outbox_keys: Routing keys of the events that wait in the outbox.
    """

    clock: Reading
    version: int
    state: SharedRate | None
    nonsense: bool
    singly: bool
    override: float | None
    granted: float
    others: tuple[_Living, ...]
    pause: Pause | None
    deaths: int
    outbox_keys: frozenset[str]

    @classmethod
    def of(cls, row: Any, replica: str, *, asked: float, heard: float) -> FleetSnapshot:
        """Read a row, as this replica sees it.

        Args:
            row: The only one.
            replica: Which replica this is.
            asked: When the database was asked, in seconds of the loop's clock.
            heard: When its answer was there.
        """
        living = [_Living(*each) for each in orjson.loads(row["living"] or "[]")]
        instant = datetime.fromtimestamp(row["now"], UTC)
        state = None if row["state"] is None else _state(row["state"])
        return cls(
            clock=Reading(instant, (asked + heard) / 2, (heard - asked) / 2),
            version=row["version"],
            state=state,
            nonsense=state is None and row["state"] is not None,
            singly=row["singly"],
            override=row["ceiling"],
            granted=next((each.granted for each in living if each.id == replica), 0.0),
            others=tuple(each for each in living if each.id != replica),
            pause=pause_of(row),
            deaths=row["deaths"],
            outbox_keys=frozenset(row["outbox_keys"]),
        )

    @property
    def claims(self) -> tuple[shares.Claim, ...]:
        """What the other live replicas need and have."""
        return tuple(shares.Claim(float(each.need), each.granted) for each in self.others)

    @property
    def accepted_elsewhere(self) -> float | None:
        """When AWS last accepted a call of one that it does not refuse (loop time)."""
        ages = [each.accepted_seconds for each in self.others if not each.refused]
        known = [age for age in ages if age is not None]
        return self.clock.at - min(known) if known else None

    def ceiling(self, own: float | None) -> float | None:
        """The most that the rate may be; None for no bound."""
        if self.override is not None:
            return None if math.isinf(self.override) else self.override
        ceilings = (own, *(each.ceiling for each in self.others))
        return min((each for each in ceilings if each is not None), default=None)


def pause_of(row: Any) -> Pause | None:
    """The pause in a row of `quota`, if calls are paused."""
    if row["paused_at"] is None:
        return None
    return Pause(row["pause_actor"], row["pause_reason"], row["paused_at"])


def grant(
    snapshot: FleetSnapshot, report: Report, *, initial: float, ceiling: float | None
) -> tuple[dict[str, Any], Lease]:
    """The shared rate's next state as it is stored, and this replica's lease.

    Args:
        snapshot: What was seen.
        report: What this replica has to report.
        initial: Where the search for the quota starts, where none is known yet.
        ceiling: The one in this replica's settings.
    """
    most = snapshot.ceiling(ceiling)
    replicas = len(snapshot.others) + 1
    # The ceiling bounds what is used and not what is known, so that raising it is felt at once.
    now = snapshot.clock.instant.timestamp()
    known = snapshot.state or quota.initial(initial, now)
    state = quota.advance(known, report, now, None, replicas)
    rate = state.rate if most is None else min(state.rate, most)
    share = shares.share(rate, shares.Claim(report.need, snapshot.granted), snapshot.claims)
    refused = sum(each.refused for each in snapshot.others)
    lease = Lease(
        rate=rate,
        share=share,
        singly=shares.singly(rate, replicas, now_singly=snapshot.singly),
        ceiling=most,
        replicas=replicas,
        pause=snapshot.pause,
        able=len(snapshot.others) - refused,
        refused=refused,
        accepted_elsewhere=snapshot.accepted_elsewhere,
        deaths=snapshot.deaths,
        clock=snapshot.clock,
        outbox_keys=snapshot.outbox_keys,
    )
    return asdict(state), lease


def _state(stored: str) -> SharedRate | None:
    try:
        return quota.restored(orjson.loads(stored))
    except orjson.JSONDecodeError:  # a number that no float holds
        return None
