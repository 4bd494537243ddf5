"""Builds the parts of one replica from its settings."""

from __future__ import annotations

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
from worker.app.components import Components, CountedConnect, Database
from worker.app.fleet_counts import FleetCounts
from worker.app.health import Health
from worker.app.hidden import hidden
from worker.app.lost_queues import LostQueues
from worker.app.prefetch import Prefetch
from worker.app.readings import readings
from worker.app.retention import retention
from worker.app.secrets_watch import SecretsWatch
from worker.app.state_reports import StateReports, calls_state
from worker.core import aws_causes
from worker.core.token.outgoing import retry_exchange
from worker.core.token.prefetch import MOST_PREFETCHED, PARKED_PREFETCH
from worker.core.token.verdict import Policy
from worker.runtime.replica import Plan, Ports, Replica
from worker.settings.transport import endpoint_fault

if TYPE_CHECKING:
    from worker.adapters.metrics import Metrics
    from worker.adapters.postgres.sessions import Connect
    from worker.settings import Settings


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
    connect = CountedConnect(_connect(settings, marketplace))
    database = _database(settings, connect)
    publishing = _publishing(settings, health)
    plan = Plan(
        policy=policy(settings),
        concurrency=settings.pool.concurrency,
        patience_seconds=settings.token.patience,
        remedy=lambda code, message: aws_causes.of_systemic(code, message).remedy,
        report_lease=health.reporter("fleet"),
        aside_changed=lambda: prefetch.apply(),  # noqa: PLW0108 - it is created below
        suspected=lambda: consuming.suspected,
        queued=lambda lane: consuming.ready.get(LANE_QUEUES[lane]),
        unacked=lambda lane: consuming.unacked(lane),  # noqa: PLW0108 - it is created below
    )
    replica = Replica(_ports(settings, database, marketplace, publishing, metrics), plan)
    lost_queues = LostQueues(database.ledger, health.reporter("topology"))
    consuming = _consuming(settings, replica, health, lost_queues)
    prefetch = Prefetch(settings, replica, consuming)
    components = Components(
        health=health,
        metrics=metrics,
        secrets=SecretsWatch(settings),
        connect=connect,
        database=database,
        publishing=publishing,
        consuming=consuming,
        lost_queues=lost_queues,
        fleet_counts=FleetCounts(database.ledger, replica.events, lost_queues),
        prefetch=prefetch,
        replica=replica,
        retention=retention(settings, connect, metrics),
        state_reports=_state_reports(database, publishing, health, replica, consuming),
    )
    metrics.readings.watch(readings(components))
    return components


def _database(settings: Settings, connect: Connect) -> Database:
    return Database(
        PostgresLedger(connect),
        PostgresFleet(connect, initial=settings.rate.initial, ceiling=settings.rate.ceiling),
        PostgresOutbox(connect),
    )


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
