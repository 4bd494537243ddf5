"""The parts of one replica, and what they say of its state together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.adapters import logs
from worker.core import aws_causes, holds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.adapters.metrics import Metrics
    from worker.adapters.postgres.ledger.event_outbox import PostgresOutbox
    from worker.adapters.postgres.ledger.ledger import PostgresLedger
    from worker.adapters.postgres.rate.fleet import PostgresFleet
    from worker.adapters.postgres.sessions import Connect, Connection
    from worker.adapters.rabbitmq.consuming import ConsumingLink
    from worker.adapters.rabbitmq.publishing import PublishingLink
    from worker.app.fleet_counts import FleetCounts
    from worker.app.health import Health
    from worker.app.lost_queues import LostQueues
    from worker.app.prefetch import Prefetch
    from worker.app.secrets_watch import SecretsWatch
    from worker.app.state_reports import StateReports
    from worker.core.records import Fault
    from worker.runtime.dead_letters.retention import Retention
    from worker.runtime.replica import Replica


@dataclass(frozen=True, slots=True)
class Database:
    """What a replica keeps in PostgreSQL."""

    ledger: PostgresLedger
    fleet: PostgresFleet
    outbox: PostgresOutbox

    async def close(self) -> None:
        """Close all sessions."""
        await self.outbox.close()
        await self.fleet.close()
        await self.ledger.close()


@dataclass(slots=True)
class CountedConnect:
    """Opens connections to the database, and counts them."""

    connect: Connect
    connections: int = 0

    async def __call__(self) -> Connection:
        """Open one."""
        connection = await self.connect()
        self.connections += 1
        return connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The parts that exist for as long as the process works."""

    health: Health
    metrics: Metrics
    secrets: SecretsWatch
    connect: CountedConnect
    database: Database
    publishing: PublishingLink
    consuming: ConsumingLink
    lost_queues: LostQueues
    fleet_counts: FleetCounts
    prefetch: Prefetch
    replica: Replica
    retention: Retention
    state_reports: StateReports

    def standstill(self) -> Mapping[str, str]:
        """The faults that only a restart mends, by part."""
        if self.consuming.stands_still:
            return {"consuming": "messages are ready but none is delivered, after several rebuilds"}
        return {}

    def faults(self) -> Mapping[str, str]:
        """The faults that keep this replica from working, by part."""
        fault, skew = self.replica.breaker.refused, self.replica.clock.fault
        able = self.replica.breaker.state.able if self.replica.breaker.state.alone else 0
        refused = {} if fault is None else {"aws": _refusal(fault, able)}
        skewed = {} if skew is None else {"clock": skew}
        # The writer meets a fault of the ledger before the next poll does.
        unwritten = {
            part: why for part, why in self.replica.gate.reasons.items() if part == holds.LEDGER
        }
        faults = {**self.health.faults, **unwritten, **skewed, **refused}
        return {part: logs.secrets.hide(why) for part, why in faults.items()}

    def notes(self) -> Mapping[str, str]:
        """Why no call is made though this replica could work: AWS is down, say."""
        notes = {}
        fault = self.replica.breaker.fault
        if fault is not None and self.replica.breaker.refused is None:
            notes["aws"] = _refusal(fault, 0)
        if self.replica.lease_keeper.pause is not None:
            notes["pause"] = f"calls are {self.replica.lease_keeper.pause}"
        if self.state_reports.fault is not None:
            notes["state"] = self.state_reports.fault
        return {part: logs.secrets.hide(why) for part, why in notes.items()}


def _refusal(fault: Fault, able: int) -> str:
    """Why calls to AWS are stopped, and what to do about it.

    Args:
        fault: Why it refuses them.
        able: Number of other replicas that it accepts meanwhile.
    """
    alone = f" (only this replica: {able} others are accepted)" if able else ""
    remedy = aws_causes.of_systemic(fault.code, fault.message).remedy
    return f"{fault.code}: {fault.message}{alone}; {remedy}"
