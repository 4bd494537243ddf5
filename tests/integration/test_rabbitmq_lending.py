"""How much the broker lends: more or less while consuming, without anything being lost by it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.connections import drop_connections
from worker.adapters.rabbitmq import consumer
from worker.adapters.rabbitmq.connection import connected
from worker.adapters.rabbitmq.consumer import Source
from worker.adapters.rabbitmq.consuming import ConsumingLink
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.topology import BACKLOG, TOKENS, topology
from worker.core.outgoing import Outgoing
from worker.core.records import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.servers import Broker
    from worker.adapters.rabbitmq.delivery import BrokerDelivery

WANTED = topology({"5s": 5.0})
RATE_LIMIT_SECONDS = 0.5


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes may follow each other more quickly than at work."""
    monkeypatch.setattr(consumer, "_LENT_SECONDS", RATE_LIMIT_SECONDS)


class Hand:
    """What has been delivered and is not acked."""

    def __init__(self) -> None:
        self.held: list[BrokerDelivery] = []
        self.redelivered = 0
        self.acked = 0
        self.epochs = 0

    def take(self, delivery: BrokerDelivery) -> None:
        """Take a delivery."""
        self.redelivered += delivery.incoming.redelivered
        self.held.append(delivery)

    def lost(self) -> None:
        """A channel is gone, and what came over it is no longer ours."""
        self.held = [delivery for delivery in self.held if delivery.alive]
        self.epochs += 1

    async def ack(self, count: int) -> None:
        """Ack the oldest ones."""
        for delivery in self.held[:count]:
            await delivery.ack()
        self.acked += len(self.held[:count])
        del self.held[:count]

    async def holds(self, count: int) -> None:
        """Wait until so many are held, and see that it stays so."""
        await until(lambda: len(self.held) >= count)
        await asyncio.sleep(0.3)
        assert len(self.held) == count


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that must come soon."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - the broker delivers by itself
            await asyncio.sleep(0.02)


async def publish(broker: Broker, count: int, key: str = "token") -> None:
    """So many messages into a lane."""
    async with connected(broker.url, name="publishing") as connection:
        publisher = await Publisher.open(connection)
        batch = [Outgoing("resolution", key, b"{}", f"m{number}") for number in range(count)]
        assert not any(await publisher.publish_all(batch))


@asynccontextmanager
async def consuming(
    broker: Broker, prefetch: int, report: Callable[[str | None], None] = lambda _: None
) -> AsyncIterator[tuple[ConsumingLink, Hand]]:
    """A link that consumes both lanes, being lent so many messages of each."""
    await declare(broker.url, WANTED)
    hand = Hand()
    link = ConsumingLink(
        lambda: broker.url,
        WANTED,
        [Source(TOKENS, Lane.LIVE, prefetch), Source(BACKLOG, Lane.BACKLOG, prefetch)],
        watched=[],
        deliver=hand.take,
        lost=hand.lost,
        report=report,
    )
    running = asyncio.create_task(link.run())
    try:
        yield link, hand
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_more_is_lent_at_once(broker: Broker) -> None:
    """A greater number reaches a consumer at work, and what it holds stays valid."""
    async with consuming(broker, 5) as (link, hand):
        await publish(broker, 200)
        await hand.holds(6)  # the first came alone, to a consumer of its own
        link.lend(Lane.LIVE, 50)
        await hand.holds(56)
        while hand.acked < 200:
            await hand.ack(10)
            await asyncio.sleep(0.01)
            await until(lambda: bool(hand.held) or hand.acked == 200)
        assert hand.redelivered == 0
        await link.settle()
        await publish(broker, 1)
        await hand.holds(1)


async def test_less_is_lent_once_what_is_held_is_settled(broker: Broker) -> None:
    """With a smaller number what is held stays so, and no more than that number follows it."""
    async with consuming(broker, 40) as (link, hand):
        await publish(broker, 300)
        await hand.holds(41)
        link.lend(Lane.LIVE, 4)
        await hand.holds(45)
        await hand.ack(41)
        await hand.holds(4)
        await hand.ack(3)
        await hand.holds(4)
        assert hand.redelivered == 0


async def test_small_changes_and_other_lanes_leave_a_consumer_alone(broker: Broker) -> None:
    """Only a change of more than a factor of two, and of its own lane, begins a consumer anew."""
    async with consuming(broker, 10) as (link, hand):
        await publish(broker, 100)
        await hand.holds(11)
        for _ in range(20):
            link.lend(Lane.LIVE, 20)
            link.lend(Lane.LIVE, 6)
            link.lend(Lane.BACKLOG, 90)
            await asyncio.sleep(0.02)
        await hand.holds(11)


async def test_changes_are_rate_limited_and_not_forgotten(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second change waits its time, however often it is asked for, and is made then."""
    monkeypatch.setattr(consumer, "_LENT_SECONDS", 3.0)
    async with consuming(broker, 5) as (link, hand):
        await publish(broker, 300)
        await hand.holds(6)
        link.lend(Lane.LIVE, 20)
        await hand.holds(26)
        link.lend(Lane.LIVE, 100)
        await asyncio.sleep(1.5)
        assert len(hand.held) == 26
        await until(lambda: len(hand.held) == 126)


async def test_a_new_connection_begins_with_what_was_wanted_last(broker: Broker) -> None:
    """After a loss as many are lent as were asked for before it."""
    async with consuming(broker, 5) as (link, hand):
        await publish(broker, 100)
        await hand.holds(6)
        link.lend(Lane.LIVE, 30)
        await hand.holds(36)
        await hand.ack(36)
        await hand.holds(30)
        assert await drop_connections(broker)
        await until(lambda: hand.epochs == 1)
        await until(lambda: len(hand.held) > 1)
        await hand.holds(31)


async def test_after_the_end_nothing_is_lent_anew(broker: Broker) -> None:
    """A link that was stopped in the midst of a change is handed nothing more."""
    async with consuming(broker, 5) as (link, hand):
        await publish(broker, 300)
        await hand.holds(6)
        link.lend(Lane.LIVE, 100)
        await asyncio.sleep(0)  # the change begins
        await link.stop()
        await asyncio.sleep(0.5)
        held = len(hand.held)
        await hand.ack(held)
        link.lend(Lane.LIVE, 300)
        await asyncio.sleep(1)
        assert hand.held == []


async def test_lending_anew_does_not_disturb_the_careful(broker: Broker) -> None:
    """While messages with a history are handled alone, another number waits until they are."""
    await declare(broker.url, WANTED)
    await publish(broker, 5)
    for _ in range(3):  # so often in vain
        async with connected(broker.url, name="crashing") as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(TOKENS)
            for _ in range(5):
                assert await queue.get(fail=False)
    await publish(broker, 40, "token")
    async with consuming(broker, 10) as (link, hand):
        most = 0
        while hand.acked < 45:
            link.lend(Lane.LIVE, 3 if hand.acked % 2 else 30)
            await until(lambda: bool(hand.held))
            suspects = sum(delivery.suspect for delivery in hand.held)
            most = max(most, suspects and len(hand.held))
            await hand.ack(1)
        assert most == 1  # a suspect is in hand only by itself
        await link.settle()
        assert hand.epochs == 0


async def test_looking_after_consumers_leaves_nothing_behind(broker: Broker) -> None:
    """However often consumers are looked after, nothing waits for the ends of their channels."""

    def observers() -> list[int]:
        closings: list[Any] = [getattr(each.wire, "_closing") for each in link._consumers]  # noqa: B009 - no public name
        return [len(closing._callbacks or ()) for closing in closings]

    async with consuming(broker, 10) as (link, _):
        await until(lambda: len(link._consumers) == 2)
        before = observers()
        for _ in range(50):
            link._attention.set()
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert observers() == before


async def test_a_suspect_that_is_held_does_not_keep_consuming_from_being_up(
    broker: Broker,
) -> None:
    """While the first message may end the process the rest waits, yet the link says it is up."""
    told: list[str | None] = []
    async with consuming(broker, 10) as (_, hand):
        await publish(broker, 1)
        await until(lambda: len(hand.held) == 1)
        for _ in range(2):
            epochs = hand.epochs
            await drop_connections(broker)
            await until(lambda epochs=epochs: hand.epochs > epochs and len(hand.held) == 1)  # type: ignore[misc]
    async with consuming(broker, 10, told.append) as (link, hand):
        await until(lambda: len(hand.held) == 1)
        await asyncio.sleep(0.5)
        assert hand.held[0].suspect
        assert len(link._consumers) == 1
        assert told[-1] is None
        assert link.ready[BACKLOG] == 0
