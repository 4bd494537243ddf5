"""A link that consumes on a real broker, and somebody who holds what it delivers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aio_pika

from worker.adapters.rabbitmq.connection import connected
from worker.adapters.rabbitmq.consumer import Source
from worker.adapters.rabbitmq.consuming import ConsumingLink
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.queue_watch import QueueWatch
from worker.adapters.rabbitmq.topology import BACKLOG, TOKENS, topology
from worker.core.records import Lane
from worker.core.token.outgoing import Outgoing
from worker.core.token.prefetch import MOST_IN_HAND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from harness.servers import Broker
    from worker.adapters.rabbitmq.delivery import BrokerDelivery

WANTED = topology({"5s": 5.0})


class Hand:
    """What has been delivered and is not acked.

    Attributes:
        deaths: How many processes are said to have died lately.
        lost: How often deliveries have died.
    """

    def __init__(self) -> None:
        self.held: list[BrokerDelivery] = []
        self.deaths = 0
        self.redelivered = 0
        self.acked = 0
        self.lost = 0

    def take(self, delivery: BrokerDelivery) -> None:
        """Take a delivery."""
        self.redelivered += delivery.incoming.redelivered
        self.held.append(delivery)

    def lose(self) -> None:
        """Let go of what is no longer ours."""
        self.held = [delivery for delivery in self.held if delivery.alive]
        self.lost += 1

    async def ack(self, count: int) -> None:
        """Ack the oldest ones."""
        for delivery in self.held[:count]:
            delivery.ack()
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


async def take_in_vain(broker: Broker, count: int, times: int = 2, queue: str = TOKENS) -> None:
    """Take so many messages, and lose the connection to the broker; so many times."""
    for _ in range(times):
        async with await aio_pika.connect(broker.url) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=count)
            came: list[Any] = []

            async def take(message: Any, came: list[Any] = came) -> None:
                came.append(message)

            await (await channel.get_queue(queue)).consume(take)
            await until(lambda came=came: len(came) == count)  # type: ignore[misc]


async def ready(broker: Broker, queue: str = TOKENS) -> int:
    """How many messages are in a queue that nobody holds."""
    async with connected(broker.url, name="looking") as connection:
        channel = await connection.channel()
        box = await channel.declare_queue(queue, passive=True)
        return box.declaration_result.message_count or 0


@asynccontextmanager
async def consuming(
    broker: Broker,
    prefetch: int,
    report: Callable[[str | None], None] = lambda _: None,
    *,
    deaths: int = 0,
    most: int = MOST_IN_HAND,
    **options: Any,
) -> AsyncIterator[tuple[ConsumingLink, Hand]]:
    """A link that consumes both lanes, being lent so many messages of each, `most` in hand."""
    await declare(broker.url, WANTED)
    hand = Hand()
    hand.deaths = deaths
    link = ConsumingLink(
        lambda: broker.url,
        WANTED,
        [Source(TOKENS, Lane.LIVE, prefetch, most), Source(BACKLOG, Lane.BACKLOG, prefetch, most)],
        watch=QueueWatch({}),
        deliver=hand.take,
        lost=hand.lose,
        report=report,
        deaths=lambda: hand.deaths,
        **options,
    )
    running = asyncio.create_task(link.run())
    try:
        yield link, hand
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])
