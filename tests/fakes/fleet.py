"""A fleet in memory: one rate, what each replica tells of itself, and whose turn it is to look."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from worker.core.clock import Reading
from worker.core.exceptions import LedgerUnavailable
from worker.core.rate.fleet import Lease, Pause, ReplicaState, Report

if TYPE_CHECKING:
    from collections.abc import Callable

FULL_SPEED = 1e6
_TURN_SECONDS = 1.0


class FakeFleet:
    """The shared part; each replica has a `seat` in it, and this is the seat of the first.

    Attributes:
        rate: Calls a second; each replica is given all of it.
        singly: Whether permits are asked for one by one.
        pause: What an operator said.
        states: What each replica told of itself last.
        deaths: Replicas that died lately.
        away: Why the database can't be asked, or None.
        began: What the database's clock showed at the loop's time 0.
        reports: What replicas told.
        left: Replicas that have left.
        outbox_keys: What waits in the outbox.
    """

    def __init__(self, ceiling: float | None = None) -> None:
        self.rate = FULL_SPEED if ceiling is None else ceiling
        self.singly = False
        self.pause: Pause | None = None
        self.states: dict[str, tuple[float, ReplicaState]] = {}
        self.deaths = 0
        self.away: str | None = None
        self.began = datetime.now(UTC)
        self.reports: list[Report] = []
        self.left = 0
        self.outbox_keys: Callable[[], frozenset[str]] = frozenset
        self._last_probe = -math.inf
        self._next_permit = -math.inf

    def clock(self) -> datetime:
        """What the database's clock shows: it runs as the loop's does."""
        return self.began + timedelta(seconds=asyncio.get_running_loop().time())

    def seat(self, name: str) -> FakeSeat:
        """The fleet as another replica has it."""
        return FakeSeat(self, name)

    @property
    def refused(self) -> set[str]:
        """Replicas that say that AWS refuses them."""
        return {name for name, (_, told) in self.states.items() if told.refusal is not None}

    async def lease(self, report: Report, state: ReplicaState) -> Lease:
        """Report, and learn how to go on."""
        return await self.seat("first").lease(report, state)

    async def permit(self) -> float:
        """Take the next single permit."""
        self.ask()
        now = asyncio.get_running_loop().time()
        taken = max(now, self._next_permit)
        self._next_permit = taken + 1 / self.rate
        return taken - now

    async def may_probe(self) -> bool:
        """Take the turn to probe, if it is due."""
        self.ask()
        now = asyncio.get_running_loop().time()
        if now < self._last_probe + _TURN_SECONDS:
            return False
        self._last_probe = now
        return True

    async def leave(self) -> None:
        """A replica ends."""
        self.ask()
        self.left += 1

    def ask(self) -> None:
        """Fail if the database is away."""
        if self.away is not None:
            raise LedgerUnavailable(self.away)


class FakeSeat:
    """One replica's part in a fleet that several share."""

    def __init__(self, fleet: FakeFleet, name: str) -> None:
        self._fleet = fleet
        self._name = name
        self.permit = fleet.permit
        self.may_probe = fleet.may_probe
        self.leave = fleet.leave

    async def lease(self, report: Report, state: ReplicaState) -> Lease:
        """Report, and learn how to go on."""
        fleet, now = self._fleet, asyncio.get_running_loop().time()
        fleet.ask()
        fleet.reports.append(report)
        fleet.states[self._name] = (now, state)
        others = [told for name, told in fleet.states.items() if name != self._name]
        able = [(at, told) for at, told in others if told.refusal is None]
        accepted = [
            at - told.accepted_seconds for at, told in able if told.accepted_seconds is not None
        ]
        return Lease(
            fleet.rate,
            fleet.rate,
            singly=fleet.singly,
            replicas=len(fleet.states),
            pause=fleet.pause,
            able=len(able),
            refused=len(others) - len(able),
            accepted_elsewhere=max(accepted, default=None),
            deaths=fleet.deaths,
            clock=Reading(fleet.clock(), now),
            outbox_keys=fleet.outbox_keys(),
        )
