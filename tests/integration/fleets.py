"""Several replicas of one fleet, on one database."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.adapters.postgres.rate.fleet import PostgresFleet
from worker.adapters.postgres.sessions import connector
from worker.core.rate.fleet import ReplicaState, Report
from worker.core.records import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from harness.schema import Schema
    from worker.core.rate.fleet import Lease

HUNGRY = Report(need=float("inf"))
IDLE = Report(need=0.0)
DENIED = Fault(FaultKind.SYSTEMIC, "AccessDeniedException", "not allowed")
SOUND = ReplicaState("id", accepted_seconds=0.0)
REFUSED = ReplicaState("id", DENIED, refused_seconds=5.0, probes=3)


@dataclass(slots=True)
class Crew:
    """Replicas made one by one, as the worker's own role.

    Attributes:
        initial: Where the search of all of them starts, in calls a second.
    """

    schema: Schema
    initial: float = 40.0
    made: list[PostgresFleet] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def replica(self, ceiling: float | None = None, **options: Any) -> PostgresFleet:
        """One more; the crew closes it."""
        one = PostgresFleet(
            connector(lambda: self.schema.worker),
            initial=self.initial,
            ceiling=ceiling,
            replica=f"replica-{next(self._numbers)}",
            **options,
        )
        self.made.append(one)
        return one

    def replicas(self, count: int, ceiling: float | None = None) -> list[PostgresFleet]:
        """So many more."""
        return [self.replica(ceiling) for _ in range(count)]

    async def stay(self) -> None:
        """Let all that are live now live on for a while without a further lease."""
        await self.schema.execute("UPDATE resolution.replica SET expires_at = now() + '1 min'")


@asynccontextmanager
async def crew(schema: Schema, initial: float = 40.0) -> AsyncIterator[Crew]:
    """A crew whose connections are closed at the end."""
    one = Crew(schema, initial)
    try:
        yield one
    finally:
        for each in one.made:
            await each.close()


async def leases(
    fleets: Sequence[PostgresFleet], report: Report = HUNGRY, state: ReplicaState = SOUND
) -> list[Lease]:
    """A lease of each, all asked for at once."""
    return await asyncio.gather(*(each.lease(report, state) for each in fleets))


async def settled(fleets: Sequence[PostgresFleet], report: Report = HUNGRY) -> list[Lease]:
    """Their leases after a few rounds, when shares no longer move."""
    for _ in range(3):
        await leases(fleets, report)
    return await leases(fleets, report)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long ago that is."""
        return time.monotonic() - self._began
