"""A fleet in memory: one rate, what is refused, and whose turn it is to look."""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING

from worker.core.backoff import probe_wait
from worker.core.fleet import Lease, Pause, Refusal, Report
from worker.ports import LedgerUnavailable

if TYPE_CHECKING:
    from worker.core.records import Fault

from datetime import UTC, datetime

FULL_SPEED = 1e6


class FakeFleet:
    """Shared by one replica, or by several that are given the same.

    Attributes:
        rate: Calls a second; each replica is given all of it.
        singly: Whether permits are asked for one by one.
        pause: What an operator said.
        refusals: What is refused, by identity.
        away: Why the database can't be asked, or None.
        reports: What replicas told.
        members: Replicas that have not left.
    """

    def __init__(self, ceiling: float | None = None) -> None:
        self.rate = FULL_SPEED if ceiling is None else ceiling
        self.singly = False
        self.pause: Pause | None = None
        self.refusals: dict[str, Refusal] = {}
        self.away: str | None = None
        self.reports: list[Report] = []
        self.left = 0
        self._probes = 0
        self._next_probe = -math.inf
        self._next_permit = -math.inf

    async def lease(self, report: Report, identity: str) -> Lease:
        """Report, and learn how to go on."""
        self._ask()
        self.reports.append(report)
        return Lease(
            self.rate,
            self.rate,
            singly=self.singly,
            pause=self.pause,
            refusal=self.refusals.get(identity),
            others_refused=bool(self.refusals.keys() - {identity}),
        )

    async def permit(self) -> float:
        """Take the next single permit."""
        self._ask()
        now = asyncio.get_running_loop().time()
        taken = max(now, self._next_permit)
        self._next_permit = taken + 1 / self.rate
        return taken - now

    async def refuse(self, identity: str, fault: Fault) -> None:
        """Stop an identity's calls."""
        self._ask()
        since = datetime.now(UTC)
        if identity not in self.refusals:
            self._probes = 0
            self._schedule()
        self.refusals[identity] = Refusal(fault.code, fault.message, since)

    async def may_probe(self, identity: str) -> bool:
        """Take the turn to probe, if it is due."""
        self._ask()
        if identity not in self.refusals or asyncio.get_running_loop().time() < self._next_probe:
            return False
        self._schedule()
        return True

    async def accept(self, identity: str) -> None:
        """Let an identity call again."""
        self._ask()
        self.refusals.pop(identity, None)

    async def leave(self) -> None:
        """A replica ends."""
        self._ask()
        self.left += 1

    def _schedule(self) -> None:
        wait = probe_wait(self._probes, random.random())
        self._next_probe = asyncio.get_running_loop().time() + wait
        self._probes += 1

    def _ask(self) -> None:
        if self.away is not None:
            raise LedgerUnavailable(self.away)
