"""A pipeline at work between stand-ins, and an account of what became of each message."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from harness import contract
from tests.fakes.fleet import FakeFleet
from tests.fakes.ledger import FakeLedger
from tests.fakes.outside import (
    FakeDelivery,
    FakeMarketplace,
    FakeOutbox,
    FakePublisher,
    FakeSealer,
    FakeSecrets,
    FakeTelemetry,
)
from tests.fakes.records import POLICY, body
from worker.core.records import Lane
from worker.core.timestamps import format_time
from worker.core.token.incoming import Incoming
from worker.core.token.outgoing import Kind
from worker.runtime.replica import Plan, Ports, Replica

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.core.token.verdict import Policy


class FakeWorker:
    """A pipeline and its stand-ins.

    Attributes:
        queued: How many messages wait in the lanes whose queues are known.
    """

    def __init__(
        self,
        policy: Policy,
        concurrency: int,
        ceiling: float | None,
        *,
        fleet: FakeFleet | None = None,
        ledger: FakeLedger | None = None,
        aws: FakeMarketplace | None = None,
        name: str = "first",
    ) -> None:
        self.ledger = ledger or FakeLedger()
        self.fleet = fleet or FakeFleet(ceiling)
        self.aws = aws or FakeMarketplace()
        self.publisher = FakePublisher()
        self.outbox = FakeOutbox()
        self.fleet.outbox_keys = lambda: self.outbox.keys
        self.secrets = FakeSecrets()
        self.telemetry = FakeTelemetry()
        ports = Ports(
            ledger=self.ledger,
            fleet=self.fleet.seat(name),
            marketplace=self.aws,
            publisher=self.publisher,
            outbox=self.outbox,
            sealer=FakeSealer(),
            secrets=self.secrets,
            telemetry=self.telemetry,
        )
        self.queued: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self.lease_reports: list[str | None] = []
        self.replica = Replica(
            ports,
            Plan(
                policy=policy,
                concurrency=concurrency,
                patience_seconds=30.0,
                remedy=lambda code, _: f"mend {code}",
                report_lease=self.lease_reports.append,
                queued=self.queued.get,
            ),
        )
        self.pipeline = self.replica.pipeline
        self.deliveries: list[FakeDelivery] = []

    def deliver(
        self,
        token: str,
        *,
        lane: Lane | None = Lane.LIVE,
        content: bytes | None = None,
        **properties: Any,
    ) -> FakeDelivery:
        """Hand out a submission of a token, each under an id of its own."""
        given = {"message_id": f"m{len(self.deliveries)}", **properties}
        received_at = format_time(self.fleet.clock())
        content = body(token, received_at=received_at) if content is None else content
        now = asyncio.get_running_loop().time()
        delivery = FakeDelivery(Incoming(content, **given), lane, now)
        self.deliveries.append(delivery)
        self.pipeline.deliver(delivery)
        return delivery

    async def all_acked(self, seconds: float = 1_000.0) -> None:
        """Wait until every delivery that lives is acked."""
        async with asyncio.timeout(seconds):
            for delivery in self.deliveries:
                if delivery.alive:
                    await delivery.acked.wait()

    def events(self, delivery: FakeDelivery) -> list[dict[str, Any]]:
        """The final answers that were given to one delivery's submission."""
        return [
            contract.outcome(said.body)
            for said in self.publisher.to("resolution.events")
            if said.message_id == delivery.incoming.message_id
        ]

    def event(self, delivery: FakeDelivery) -> dict[str, Any]:
        """The only answer to one delivery's submission."""
        (event,) = self.events(delivery)
        return event

    def moved(self, delivery: FakeDelivery) -> list[tuple[str, str]]:
        """Where one delivery's message was moved, by exchange and key."""
        return [
            (sent.exchange, sent.routing_key)
            for sent in self.publisher.sent
            if sent.message_id == delivery.incoming.message_id and sent.kind is Kind.MOVE
        ]


@asynccontextmanager
async def working(
    policy: Policy = POLICY, *, concurrency: int = 8, ceiling: float | None = None
) -> AsyncIterator[FakeWorker]:
    """A worker whose pipeline runs; if the test does not drain it, it is ended at once."""
    worker = FakeWorker(policy, concurrency, ceiling)
    running = asyncio.create_task(worker.pipeline.run())
    await asyncio.sleep(0)
    try:
        yield worker
        if running.done():
            running.result()
    finally:
        running.cancel()
        await asyncio.wait([running])
