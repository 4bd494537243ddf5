"""Builds the parts of one replica from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from worker.adapters import logs
from worker.adapters.aws import AwsMarketplace, Endpoint
from worker.adapters.aws.addresses import shown
from worker.adapters.postgres.ledger.event_outbox import PostgresOutbox
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.rate.fleet import PostgresFleet
from worker.adapters.postgres.sessions import connector, only_unicode
from worker.adapters.postgres.stand_in import only_stand_ins
from worker.adapters.rabbitmq.consumer import Source
from worker.adapters.rabbitmq.consuming import ConsumingLink
from worker.adapters.rabbitmq.publishing import PublishingLink
from worker.adapters.rabbitmq.queue_watch import QueueWatch
from worker.adapters.rabbitmq.state_channel import StateChannel
from worker.adapters.rabbitmq.topology import LANE_QUEUES, PARKED, topology
from worker.adapters.sealing import Sealer
from worker.app.health import Health
from worker.app.hidden import hidden
from worker.app.lost_queues import LostQueues
from worker.app.prefetch import Prefetch
from worker.app.retention import retention
from worker.app.state_reports import StateReports, calls_state
from worker.core import aws_causes, holds
from worker.core.records import Lane
from worker.core.token.outgoing import retry_exchange
from worker.core.token.prefetch import MOST_PREFETCHED, PARKED_PREFETCH
from worker.core.token.verdict import Policy
from worker.runtime.replica import Plan, Ports, Replica
from worker.settings.transport import endpoint_fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.adapters.metrics import Metrics
    from worker.adapters.postgres.sessions import Connect
    from worker.core.records import Fault
    from worker.runtime.dead_letters.retention import Retention
    from worker.settings import Settings


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The parts that exist for as long as the process works."""

    health: Health
    metrics: Metrics
    database: Database
    publishing: PublishingLink
    consuming: ConsumingLink
    lost_queues: LostQueues
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


def endpoint(settings: Settings) -> Endpoint:
    """The endpoint, identity and limits of calls to AWS."""
    aws = settings.aws
    return Endpoint(
        region=aws.region,
        url=aws.endpoint_url,
        role_arn=aws.role_arn,
        external_id=aws.external_id,
        expected_account=aws.expected_account,
        timeout_seconds=aws.timeout,
        concurrency=settings.pool.concurrency,
        plain_client=aws.client == "plain",
        fault_of=partial(endpoint_fault, allow_plaintext=settings.allow_plaintext),
    )


def policy(settings: Settings) -> Policy:
    """The configured rules for retries."""
    return Policy(
        attempts=settings.retry.attempts,
        delays=tuple(delay.text for delay in settings.retry.delays),
        lifetime=timedelta(seconds=settings.token.lifetime),
    )


def assemble(settings: Settings, marketplace: AwsMarketplace, metrics: Metrics) -> Components:
    """Create the parts and connect them with each other; nothing runs or connects yet."""
    health = Health()
    connect = _connect(settings, marketplace)
    database = Database(
        PostgresLedger(connect),
        PostgresFleet(connect, initial=settings.rate.initial, ceiling=settings.rate.ceiling),
        PostgresOutbox(connect),
    )
    publishing = _publishing(settings, health)
    plan = Plan(
        policy=policy(settings),
        concurrency=settings.pool.concurrency,
        patience_seconds=settings.token.patience,
        remedy=lambda code, message: aws_causes.of_systemic(code, message).remedy,
        report_lease=health.reporter("fleet"),
        aside_changed=lambda: prefetch.apply(),  # noqa: PLW0108 - it is created below
        suspected=lambda: consuming.suspected,
        queued=lambda: consuming.ready.get(LANE_QUEUES[Lane.LIVE], 0),
        unacked=lambda lane: consuming.unacked(lane),  # noqa: PLW0108 - it is created below
    )
    replica = Replica(_ports(settings, database, marketplace, publishing, metrics), plan)
    lost_queues = LostQueues(database.ledger, health.reporter("topology"))
    consuming = _consuming(settings, replica, health, lost_queues)
    prefetch = Prefetch(settings, replica, consuming)
    components = Components(
        health=health,
        metrics=metrics,
        database=database,
        publishing=publishing,
        consuming=consuming,
        lost_queues=lost_queues,
        prefetch=prefetch,
        replica=replica,
        retention=retention(settings, connect, metrics),
        state_reports=_state_reports(database, publishing, health, replica, consuming),
    )
    _watch(components)
    return components


def _connect(settings: Settings, marketplace: AwsMarketplace) -> Connect:
    connect = only_unicode(connector(hidden(settings.current_postgres_dsn)))
    address = marketplace.address
    if address.is_encrypted:
        return connect
    return only_stand_ins(connect, shown(address), address.named_by)


def _publishing(settings: Settings, health: Health) -> PublishingLink:
    return PublishingLink(
        hidden(settings.current_amqp_url),
        health.reporter("publishing"),
        [retry_exchange(delay.text) for delay in settings.retry.delays],
    )


def _ports(
    settings: Settings,
    database: Database,
    marketplace: AwsMarketplace,
    publishing: PublishingLink,
    metrics: Metrics,
) -> Ports:
    assert settings.dead_letters.seal_key is not None  # `run` refuses to start without one
    return Ports(
        ledger=database.ledger,
        fleet=database.fleet,
        marketplace=marketplace,
        publisher=publishing,
        outbox=database.outbox,
        sealer=Sealer(settings.dead_letters.seal_key),
        secrets=logs.secrets,
        telemetry=metrics,
    )


def _consuming(
    settings: Settings, replica: Replica, health: Health, lost_queues: LostQueues
) -> ConsumingLink:
    # Nothing is consumed before the first lease, which determines how much to prefetch.
    lanes = [Source(queue, lane, 0, MOST_PREFETCHED[lane]) for lane, queue in LANE_QUEUES.items()]
    delays = {delay.text: delay.seconds for delay in settings.retry.delays}
    return ConsumingLink(
        hidden(settings.current_amqp_url),
        topology(delays),
        [*lanes, Source(PARKED, None, PARKED_PREFETCH, PARKED_PREFETCH)],
        watch=QueueWatch(
            {retry_exchange(delay): seconds for delay, seconds in delays.items()},
            lambda: replica.lease_keeper.replicas,
            lost_queues.seen,
        ),
        deliver=replica.pipeline.deliver,
        lost=replica.pipeline.drop_dead,
        report=health.reporter("consuming"),
        deaths=lambda: replica.lease_keeper.deaths,
    )


def _state_reports(
    database: Database,
    publishing: PublishingLink,
    health: Health,
    replica: Replica,
    consuming: ConsumingLink,
) -> StateReports:
    channel = StateChannel(publishing, database.fleet.replica)
    return StateReports(partial(calls_state, health, replica, consuming), channel)


def _refusal(fault: Fault, able: int) -> str:
    """Why calls to AWS are stopped, and what to do about it.

    Args:
        fault: Why it refuses them.
        able: Number of other replicas that it accepts meanwhile.
    """
    alone = f" (only this replica: {able} others are accepted)" if able else ""
    remedy = aws_causes.of_systemic(fault.code, fault.message).remedy
    return f"{fault.code}: {fault.message}{alone}; {remedy}"


def _watch(components: Components) -> None:
    metrics, replica = components.metrics, components.replica
    metrics.watch(
        oldest=replica.pipeline.oldest_seconds,
        breaker_open=lambda: replica.breaker.fault is not None,
        refused_alone=lambda: replica.breaker.state.alone,
        skew_seconds=lambda: replica.clock.skew_seconds,
        rates={"shared": lambda: replica.pacer.shared, "local": replica.pacer.local},
        faults=components.faults,
    )
    calling = replica.pipeline.pool.calling
    metrics.in_flight.set_function(lambda: float(calling.count))
    metrics.suspected.set_function(lambda: float(components.consuming.suspected))
    metrics.queues_lost.set_function(lambda: float(len(components.lost_queues.lost)))
