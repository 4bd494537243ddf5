"""What a replica sees of its fleet, and the lease that follows from it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import orjson

from worker.core import quota, shares
from worker.core.fleet import Lease, Pause, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.fleet import Report


@dataclass(frozen=True, slots=True)
class Sight:
    """What `fleet_look.sql` returns.

    Attributes:
        now: The database's clock, in seconds of the epoch.
        version: Of the seller's row; 0 where there is none.
        state: The shared rate as it was stored, or None.
        singly: Whether permits are asked for one by one.
        override: The ceiling by an operator's word: Infinity for none at all, None for no word.
        granted: What this replica has already.
        others: What the other live replicas need and have.
        ceilings: Those in the settings of the other live replicas.
    """

    now: float
    version: int
    state: Mapping[str, Any] | None
    singly: bool
    override: float | None
    granted: float
    others: tuple[shares.Claim, ...]
    ceilings: tuple[float, ...]
    pause: Pause | None
    refusal: Refusal | None
    others_refused: bool

    @classmethod
    def of(cls, row: Any, replica: str) -> Sight:
        """Read a row, as this replica sees it."""
        living = {each[0]: each[1:] for each in orjson.loads(row["living"] or "[]")}
        granted = living.pop(replica, (0.0, 0.0, None))[1]
        return cls(
            now=row["now"],
            version=row["version"],
            state=None if row["state"] is None else orjson.loads(row["state"]),
            singly=row["singly"],
            override=row["ceiling"],
            granted=granted,
            others=tuple(shares.Claim(float(need), had) for need, had, _ in living.values()),
            ceilings=tuple(each for _, _, each in living.values() if each is not None),
            pause=pause_of(row),
            refusal=_refusal_of(row),
            others_refused=row["others_refused"],
        )

    def ceiling(self, own: float | None) -> float | None:
        """The most that the rate may be; None for no bound."""
        if self.override is not None:
            return None if math.isinf(self.override) else self.override
        configured = self.ceilings if own is None else (*self.ceilings, own)
        return min(configured, default=None)


def pause_of(row: Any) -> Pause | None:
    """The pause in a row of `quota`, if calls are paused."""
    if row["paused_at"] is None:
        return None
    return Pause(row["pause_actor"], row["pause_reason"], row["paused_at"])


def _refusal_of(row: Any) -> Refusal | None:
    if row["opened_at"] is None:
        return None
    return Refusal(row["code"], row["message"], row["opened_at"])


def grant(
    sight: Sight, report: Report, *, initial: float, ceiling: float | None
) -> tuple[dict[str, Any], Lease]:
    """The shared rate's next state as it is stored, and this replica's lease.

    Args:
        sight: What was seen.
        report: What this replica has to report.
        initial: Where the search for the quota starts, where none is known yet.
        ceiling: The one in this replica's settings.
    """
    most = sight.ceiling(ceiling)
    replicas = len(sight.others) + 1
    # The ceiling bounds what is used and not what is known, so that raising it is felt at once.
    state = quota.advance(_known(sight, initial), report, sight.now, None, replicas)
    rate = state.rate if most is None else min(state.rate, most)
    share = shares.share(rate, shares.Claim(report.need, sight.granted), sight.others)
    lease = Lease(
        rate=rate,
        share=share,
        singly=shares.singly(rate, replicas, now_singly=sight.singly),
        ceiling=most,
        replicas=replicas,
        pause=sight.pause,
        refusal=sight.refusal,
        others_refused=sight.others_refused,
    )
    return asdict(state), lease


def _known(sight: Sight, initial: float) -> quota.SharedRate:
    fresh = quota.initial(initial, sight.now)
    return fresh if sight.state is None else quota.restored(sight.state, fresh)
