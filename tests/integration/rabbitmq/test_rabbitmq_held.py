"""Nothing is held for longer than the bound, wherever it is: it goes back to its queue at once."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.fakes.fleet import FakeFleet
from tests.fakes.ledger import FakeLedger
from tests.fakes.outside import (
    FakeMarketplace,
    FakeOutbox,
    FakePublisher,
    FakeSealer,
    FakeSecrets,
    FakeTelemetry,
)
from tests.fakes.records import POLICY
from tests.integration.hands import WANTED, consuming, publish, ready, take_in_vain, until
from worker.adapters.rabbitmq import consuming as consuming_link
from worker.adapters.rabbitmq.connection import connected
from worker.adapters.rabbitmq.consumer import Source
from worker.adapters.rabbitmq.consuming import ConsumingLink
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.queue_watch import QueueWatch
from worker.adapters.rabbitmq.topology import PARKED, TOKENS
from worker.core.exceptions import RowsRefused
from worker.core.records import Lane, LetterReason
from worker.core.token.outgoing import Outgoing
from worker.runtime.replica import Plan, Ports, Replica

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from harness.servers import Broker
    from worker.adapters.rabbitmq.delivery import BrokerDelivery
    from worker.core.records import Answer, Batch, DeadLetter, Fault, Outcome, Token, TokenKey
    from worker.ports import PublishResult

HOLD_SECONDS = 1.5
MESSAGES = 30
MALFORMED = 10


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other more quickly than at work."""
    monkeypatch.setattr(consuming_link, "_LOOK_SECONDS", 0.2)


class Ledger(FakeLedger):
    """A ledger that may refuse all letters for their data."""

    refuses = False

    async def settle(self, batch: Batch) -> Mapping[TokenKey, Outcome]:
        """Commit a batch, or refuse it."""
        if self.refuses and batch.letters:
            raise RowsRefused("no letters today")
        return await super().settle(batch)


class ConfirmedPublisher(FakePublisher):
    """A publisher that may keep everything in hand, neither confirmed nor refused."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[PublishResult]:
        """Publish a batch, some time."""
        await self.open.wait()
        return await super().send(batch)


class Marketplace(FakeMarketplace):
    """An AWS that may leave every call unanswered for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()

    async def resolve(self, token: Token) -> Answer | Fault:
        """Answer a call, some time."""
        await self.open.wait()
        return await super().resolve(token)


class Setup:
    """A whole pipeline behind a real broker, and every delivery that came.

    Attributes:
        came: All deliveries, in order.
    """

    def __init__(self, broker: Broker, lane: Lane | None) -> None:
        self.ledger, self.publisher, self.aws = Ledger(), ConfirmedPublisher(), Marketplace()
        self.came: list[BrokerDelivery] = []
        ports = Ports(
            ledger=self.ledger,
            fleet=FakeFleet(),
            marketplace=self.aws,
            publisher=self.publisher,
            outbox=FakeOutbox(),
            sealer=FakeSealer(),
            secrets=FakeSecrets(),
            telemetry=FakeTelemetry(),
        )
        plan = Plan(
            policy=POLICY, concurrency=16, patience_seconds=600.0, remedy=lambda code, _: code
        )
        self.replica = Replica(ports, plan)
        self.pipeline = self.replica.pipeline
        self.link = ConsumingLink(
            lambda: broker.url,
            WANTED,
            [Source(PARKED if lane is None else TOKENS, lane, 1_000)],
            watch=QueueWatch({}),
            deliver=self._deliver,
            lost=self.pipeline.drop_dead,
            report=lambda _: None,
            deaths=lambda: 0,
            hold_seconds=HOLD_SECONDS,
        )

    def _deliver(self, delivery: BrokerDelivery) -> None:
        self.came.append(delivery)
        self.pipeline.deliver(delivery)

    @property
    def told(self) -> int:
        """Of how many messages it is known what became of them."""
        events = self.publisher.to("resolution.events")
        return len({event.message_id for event in events}) + len(self._parked)

    @property
    def _parked(self) -> list[DeadLetter]:
        letters = [kept.letter for kept in self.ledger.letters.values()]
        return [letter for letter in letters if letter.reason is LetterReason.PARKED]

    @property
    def in_hand(self) -> int:
        """How many messages are not acked."""
        return sum(consumer.unacked for consumer in self.link._consumers)


@asynccontextmanager
async def working(broker: Broker, lane: Lane | None = Lane.LIVE) -> AsyncIterator[Setup]:
    """A replica at work on a declared topology, with a call's permit to be had at once."""
    await declare(broker.url, WANTED)
    replica = Setup(broker, lane)
    tasks = [asyncio.create_task(part.run()) for part in (replica.pipeline, replica.link)]
    try:
        yield replica
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def submit(broker: Broker, key: str = "token") -> None:
    """Some tokens, and some messages that can't be read."""
    bodies = [json.dumps({"registration_token": f"t-{n}"}).encode() for n in range(MESSAGES)]
    bodies += [b"unreadable %d" % n for n in range(MALFORMED)]
    exchange = "resolution.internal" if key == "parked" else "resolution"
    batch = [Outgoing(exchange, key, body, f"m-{n}") for n, body in enumerate(bodies)]
    async with connected(broker.url, name="publishing") as connection:
        assert not any(await (await Publisher.open(connection)).publish_all(batch))


def is_malformed(delivery: BrokerDelivery) -> bool:
    """Whether it is one of those that can't be read."""
    return delivery.incoming.body.startswith(b"unreadable")


def stall(replica: Setup, where: str) -> None:
    """Let messages come to a stop at a place."""
    match where:
        case "database":
            replica.ledger.outage = "down"
        case "publisher":
            replica.publisher.open.clear()
        case "calls held":
            replica.replica.gate.hold("test", "no calls")
        case "calling":
            replica.aws.open.clear()
        case "letters refused":
            replica.ledger.refuses = True


def go_on(replica: Setup) -> None:
    """Let them go on."""
    replica.ledger.outage, replica.ledger.refuses = None, False
    replica.publisher.open.set()
    replica.aws.open.set()
    replica.replica.gate.release("test")


@pytest.mark.parametrize(
    ("where", "lane", "held"),
    [
        ("database", Lane.LIVE, MESSAGES + MALFORMED),
        ("publisher", Lane.LIVE, MESSAGES + MALFORMED),
        ("calls held", Lane.LIVE, MESSAGES),
        ("calling", Lane.LIVE, MESSAGES),
        ("letters refused", None, MESSAGES + MALFORMED),
        ("database", None, MESSAGES + MALFORMED),
    ],
)
@pytest.mark.sampled(3)
async def test_whatever_is_held_too_long_goes_back_at_once(
    broker: Broker, where: str, lane: Lane | None, held: int
) -> None:
    """Wherever messages are stuck, all of them return to the queue together, and none is lost."""
    loop = asyncio.get_running_loop()
    async with working(broker, lane) as replica:
        await until(lambda: bool(replica.link._consumers))
        await until(replica.replica.lease_keeper.joined.is_set)
        stall(replica, where)
        await submit(broker, "parked" if lane is None else "token")
        everything = MESSAGES + MALFORMED
        await until(lambda: len(replica.came) >= everything)
        first = replica.came[:everything]
        stuck = first if held == everything else [one for one in first if not is_malformed(one)]
        await until(lambda: not stuck[-1].alive)
        assert not any(delivery.alive for delivery in stuck)
        assert loop.time() - stuck[0].arrived <= HOLD_SECONDS + 0.5
        await until(lambda: len(replica.came) >= everything + held)
        again = replica.came[everything : everything + held]
        assert all(delivery.incoming.redelivered for delivery in again)
        go_on(replica)
        await until(lambda: replica.told == everything)
        queue = PARKED if lane is None else TOKENS
        async with asyncio.timeout(30):
            while replica.in_hand or await ready(broker, queue) or replica.in_hand:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_what_is_set_aside_goes_back_at_once(broker: Broker) -> None:
    """Suspected messages whose turn does not come return to the queue together."""
    async with consuming(broker, 50, deaths=1, hold_seconds=HOLD_SECONDS) as (link, hand):
        await publish(broker, 2)
        await hand.holds(2)
        link.set_prefetch(Lane.LIVE, 0)
        await until(lambda: link._consumers[0]._tag is None)
        await publish(broker, 20)
        await take_in_vain(broker, 20)
        link.set_prefetch(Lane.LIVE, 50)
        await until(lambda: link.suspected == 20)
        aside = list(link._consumers[0]._guard.held[2:])
        assert [delivery.alive for delivery in aside] == [True] * 20
        await hand.ack(2)  # one of them is handed out, the others wait for it
        await until(lambda: len(hand.held) == 1)
        link.set_prefetch(Lane.LIVE, 0)
        await until(lambda: not aside[-1].alive and not hand.held)
        assert not any(delivery.alive for delivery in aside)
        assert link.suspected == 0
        assert hand.lost <= 2  # the time may have run out between the arrivals of two of them
    async with asyncio.timeout(30):
        while await ready(broker) < 20:  # noqa: ASYNC110 - some go back when the channel ends
            await asyncio.sleep(0.1)


async def test_an_ack_of_what_was_returned_does_nothing(broker: Broker) -> None:
    """Whoever still has a returned delivery may ack it: the message is kept, the channel too."""
    async with consuming(broker, 5, hold_seconds=HOLD_SECONDS) as (link, hand):
        await publish(broker, 5)
        await hand.holds(5)
        old = list(hand.held)
        await until(lambda: not old[0].alive and len(hand.held) == 5)
        for delivery in old:
            delivery.ack()
        assert not {delivery.tag for delivery in old} & {delivery.tag for delivery in hand.held}
        await hand.ack(5)
        await link.settle()
        assert hand.lost == 1
    assert await ready(broker) == 0
