"""Counts of deliveries: the broker's are believed, a publisher's are not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import aio_pika

from worker.adapters.rabbitmq.delivery import BrokerDelivery

if TYPE_CHECKING:
    from tests.servers import Broker


async def test_a_forged_count_of_deliveries_is_not_believed(broker: Broker) -> None:
    """A message whose publisher wrote a count into it is suspect from its third delivery on."""
    consumer = cast(Any, SimpleNamespace(source=SimpleNamespace(lane=None), alive=True))
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
            came.put_nowait(BrokerDelivery(consumer, message, 0.0))

        await wire.basic_consume(queue.name, receive)
        suspect = []
        for _ in range(4):
            delivery = await asyncio.wait_for(came.get(), 30)
            suspect.append(delivery.suspect)
            await wire.basic_nack(delivery.tag, requeue=True)

    assert suspect == [False, False, True, True]
