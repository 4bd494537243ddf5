"""Overtaken tokens on a real broker: thousands move, none is lost, a full backlog refuses."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from harness.connections import drop_connections
from tests.fakes.ledger import FakeLedger
from tests.fakes.outside import FakeSealer, FakeSecrets, FakeTelemetry, acking
from tests.fakes.records import POLICY
from worker.adapters.rabbitmq.connection import connected
from worker.adapters.rabbitmq.consumer import Source
from worker.adapters.rabbitmq.consuming import ConsumingLink
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.publishing import PublishingLink
from worker.adapters.rabbitmq.queue_watch import QueueWatch
from worker.adapters.rabbitmq.topology import BACKLOG, TOKENS, topology
from worker.core.records import Lane
from worker.core.timestamps import format_time
from worker.core.token import demotion
from worker.core.token.outgoing import Outgoing
from worker.runtime.clock import Clock
from worker.runtime.gate import Gate
from worker.runtime.token.demotion import Demoter
from worker.runtime.token.in_flight import InFlight
from worker.runtime.token.intake import Intake
from worker.runtime.token.settlement import Settlement
from worker.runtime.token.waiting import WaitingRoom
from worker.runtime.token.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aio_pika.abc import AbstractIncomingMessage

    from harness.servers import Broker

WANTED = topology({"5s": 5.0})
PATIENCE = 30.0
PREFETCH = 328


@dataclass
class Replica:
    """All of a worker that is between the live queue and a call, which none is made."""

    broker: Broker
    gate: Gate = field(default_factory=Gate)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    telemetry: FakeTelemetry = field(default_factory=FakeTelemetry)
    in_flight: InFlight = field(default_factory=InFlight)
    waiting: WaitingRoom = field(default_factory=WaitingRoom)
    consumed: int = 0

    def __post_init__(self) -> None:
        writer = Writer(self.ledger, self.gate, self.telemetry)
        self.publishing = PublishingLink(lambda: self.broker.url, lambda _: None)
        self.acks = acking(self.publishing, self.telemetry)
        self.settlement = Settlement(
            in_flight=self.in_flight,
            writer=writer,
            acks=self.acks,
            sealer=FakeSealer(),
            policy=POLICY,
            telemetry=self.telemetry,
            clock=Clock(lambda: None),
        )
        self.intake = Intake(
            ledger=self.ledger,
            in_flight=self.in_flight,
            waiting=self.waiting,
            writer=writer,
            settlement=self.settlement,
            secrets=FakeSecrets(),
            policy=POLICY,
            telemetry=self.telemetry,
            clock=Clock(lambda: None),
        )
        self.demoter = Demoter(
            waiting=self.waiting,
            in_flight=self.in_flight,
            settlement=self.settlement,
            gate=self.gate,
            limits=lambda: True,
            rate=lambda: 10.0,
            behind_seconds=lambda: 0.0,
            patience_seconds=PATIENCE,
            clock=Clock(lambda: None),
        )
        self.consuming = ConsumingLink(
            lambda: self.broker.url,
            WANTED,
            [Source(TOKENS, Lane.LIVE, PREFETCH)],
            watch=QueueWatch({}),
            deliver=self.intake.deliver,
            lost=self.in_flight.drop_dead,
            report=lambda _: None,
            deaths=lambda: 0,
        )

    @property
    def moved(self) -> int:
        """How many messages were moved and acked."""
        return self.telemetry.submissions[Lane.LIVE]

    def line(self) -> list[str]:
        """The tokens in the live line."""
        standing = self.waiting.waiting_in(Lane.LIVE)
        return [token.leader.submission.token.value for token in standing]


@asynccontextmanager
async def working(broker: Broker) -> AsyncIterator[Replica]:
    """A replica at work on a declared topology."""
    replica = Replica(broker)
    parts = (replica.publishing, replica.acks, replica.intake, replica.demoter)
    tasks = [asyncio.create_task(part.run()) for part in (*parts, replica.consuming)]
    try:
        yield replica
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that must come."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - the broker delivers by itself
            await asyncio.sleep(0.02)


async def publish(broker: Broker, waited: float, *tokens: str) -> None:
    """Submissions of buyers who have waited so long."""
    received_at = format_time(datetime.now(UTC) - timedelta(seconds=waited))
    batch = [
        Outgoing(
            "resolution",
            "token",
            json.dumps({"registration_token": token, "received_at": received_at}).encode(),
            f"m-{number}-{waited}",
            correlation_id=f"c-{token.partition('-')[2]}",
        )
        for number, token in enumerate(tokens)
    ]
    async with connected(broker.url, name="publishing") as connection:
        publisher = await Publisher.open(connection)
        assert not any(await publisher.publish_all(batch, 60))


async def taken(broker: Broker, queue: str) -> list[AbstractIncomingMessage]:
    """Everything that is in a queue, in its order."""
    found: list[AbstractIncomingMessage] = []

    async def take(message: AbstractIncomingMessage) -> None:
        found.append(message)

    async with connected(broker.url, name="looking") as connection:
        channel = await connection.channel()
        box = await channel.declare_queue(queue, passive=True)
        ready = box.declaration_result.message_count or 0
        await box.consume(take, no_ack=True)
        await until(lambda: len(found) >= ready)
    return found


def tokens_of(messages: list[AbstractIncomingMessage]) -> list[str]:
    """Their tokens."""
    return [json.loads(message.body)["registration_token"] for message in messages]


def limit_backlog(broker: Broker, most: int | None) -> None:
    """Let the backlog refuse publishers beyond so many messages, or no longer."""
    policy: dict[str, Any] = {
        "pattern": "^resolution.backlog$",
        "apply-to": "queues",
        "definition": {"max-length": most},
    }
    if most is None:
        broker.management.call("DELETE", "policies", broker.vhost, "full")
    else:
        broker.management.call("PUT", "policies", broker.vhost, "full", body=policy)


async def fill_backlog(broker: Broker, most: int) -> int:
    """Let the backlog hold so many at most and fill it until it refuses; how many it took.

    A queue takes a new limit some time after the broker has, and tells its publishers
    some time after that.
    """
    limit_backlog(broker, most)
    filler = Outgoing("", BACKLOG, b"filler", "filler")
    filled = 0
    async with connected(broker.url, name="filling") as connection:
        publisher = await Publisher.open(connection)
        async with asyncio.timeout(60):
            while not any(await publisher.publish_all([filler], 60)):
                filled += 1
    return filled


@pytest.mark.long
async def test_thousands_move_aside_for_fresh_ones(broker: Broker) -> None:
    """Old tokens make room in seconds, whatever is lent at once; fresh ones are in hand then."""
    await declare(broker.url, WANTED)
    old = [f"old-{number}" for number in range(3_000)]
    fresh = [f"fresh-{number}" for number in range(20)]
    await publish(broker, 60, *old)
    async with working(broker) as replica:
        await until(lambda: replica.moved > 2_500)
        await publish(broker, 0, *fresh)
        await until(lambda: replica.moved == 3_000 and len(replica.line()) == 20)
        assert replica.line() == fresh
        assert len(replica.in_flight) == 20
        moved = await taken(broker, BACKLOG)
    assert tokens_of(moved) == old
    message = moved[7]
    assert (message.message_id, message.correlation_id) == ("m-7-60", "c-7")
    received = int(str(message.headers["x-resolution-received-at"])) / 1000
    assert 60 <= datetime.now(UTC).timestamp() - received < 150
    left = await taken(broker, TOKENS)
    assert sorted(tokens_of(left)) == sorted(fresh)


async def test_a_full_backlog_stops_the_moving_and_nothing_else(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a full backlog refuses keeps its place; acks go on, and moving once there is room."""
    monkeypatch.setattr(demotion, "_HOLD_SECONDS", 1.0)
    await declare(broker.url, WANTED)
    filled = await fill_backlog(broker, 40)
    old = [f"old-{number}" for number in range(250)]
    await publish(broker, 60, *old)
    async with working(broker) as replica:
        await until(lambda: bool(replica.demoter._demotion.refusals.times))
        await until(lambda: len(replica.line()) == 250 - replica.moved)
        stayed = replica.line()
        assert 0 < len(stayed) == 250 - replica.moved
        assert stayed == [token for token in old if token in set(stayed)]
        turn = replica.waiting.next()
        assert turn is not None
        assert turn.leader.submission.token.value == stayed[0]
        outcome = turn.leader.delivery
        replica.acks.put(outcome, ())  # as if it had been answered
        replica.in_flight.finish(turn)
        await until(lambda: replica.acks.pending.count == 0)
        limit_backlog(broker, None)
        await until(lambda: replica.moved == 249 and not replica.line())
        moved = tokens_of((await taken(broker, BACKLOG))[filled:])
        assert sorted([*moved, stayed[0]]) == sorted(old)
    assert await taken(broker, TOKENS) == []


@pytest.mark.long
async def test_lost_connections_lose_no_move(broker: Broker) -> None:
    """Whatever is lost in the middle of moving, each message ends in the backlog."""
    await declare(broker.url, WANTED)
    old = [f"old-{number}" for number in range(2_000)]
    await publish(broker, 60, *old)
    async with working(broker) as replica:
        await until(lambda: replica.moved > 100)
        assert await drop_connections(broker)
        await until(lambda: replica.consuming.ready.get(TOKENS) is not None)
        moved: list[str] = []

        async def all_moved() -> None:
            while set(moved) != set(old):
                moved.extend(tokens_of(await taken(broker, BACKLOG)))
                await asyncio.sleep(0.1)

        await asyncio.wait_for(all_moved(), 90)
        await until(lambda: not replica.line() and replica.acks.pending.count == 0)
        assert len(replica.in_flight) == 0
    assert await taken(broker, TOKENS) == []
