"""Counts of deliveries: the broker's are believed, a publisher's are not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aio_pika

from worker.adapters.rabbitmq.delivery import BrokerDelivery

if TYPE_CHECKING:
    from harness.servers import Broker


def never_acked(_: BrokerDelivery) -> None:
    """An ack that no test asks for."""


async def test_a_forged_count_of_deliveries_is_not_believed(broker: Broker) -> None:
    """A message whose publisher wrote a count into it came back often from its third delivery."""
    came: asyncio.Queue[BrokerDelivery] = asyncio.Queue()
    async with await aio_pika.connect(broker.url, timeout=30) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(
            "forged", durable=True, arguments={"x-queue-type": "quorum"}
        )
        forged = aio_pika.Message(b"{}", headers={"x-delivery-count": 99})
        await channel.default_exchange.publish(forged, queue.name)
        wire: Any = await channel.get_underlay_channel()

        async def receive(message: Any) -> None:
            came.put_nowait(BrokerDelivery(message, None, 0.0, never_acked))

        await wire.basic_consume(queue.name, receive)
        often = []
        for _ in range(4):
            delivery = await asyncio.wait_for(came.get(), 30)
            often.append(delivery.came_back_often)
            await wire.basic_nack(delivery.tag, requeue=True)

    assert often == [False, False, True, True]
