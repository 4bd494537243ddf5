"""One epoch of consuming: from a connection that is open to the loss of it.

A delivery tag means something on its own channel only. So every delivery knows its epoch, and
once that is over its ack is dropped: the broker hands the message out anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pamqp.commands import Basic

from worker.adapters.rabbitmq import tolerance
from worker.adapters.rabbitmq.connection import BrokerLost, bounded, loss
from worker.core.messages import Incoming
from worker.core.outgoing import INTERNAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel as Wire
    from aiormq.abc import DeliveredMessage

    from worker.core.records import Lane

_RPC_SECONDS: Final = 10.0
_ACK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Source:
    """A queue to consume, its lane (None for parked messages), and how many it may lend us."""

    queue: str
    lane: Lane | None
    prefetch: int


class Zombie(BrokerLost):
    """Messages wait, we could take them, and the broker hands out none."""


class ConsumerCancelled(BrokerLost):
    """The broker ended a consumer, mostly since its queue was deleted or its node went."""


@dataclass(slots=True)
class Consumer:
    """One queue's consumer on a channel of its own.

    Attributes:
        unacked: Messages lent to us.
        active: When something was last delivered (loop time), or the consumer began.
        ready: Messages that wait in the queue, as last heard.
    """

    source: Source
    wire: Wire
    tag: str
    active: float
    unacked: int = 0
    ready: int = 0
    alive: bool = True
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def starving(self, now: float, seconds: float) -> bool:
        """Whether messages wait, there is room for them, and none has come for so long."""
        room = self.unacked < self.source.prefetch
        return self.ready > 0 and room and now - self.active > seconds


class BrokerDelivery:
    """A message that the broker lent us; see `worker.ports.Delivery`."""

    __slots__ = ("_consumer", "_tag", "arrived", "incoming", "lane")

    def __init__(self, consumer: Consumer, message: DeliveredMessage, arrived: float) -> None:
        delivered = message.delivery
        assert isinstance(delivered, Basic.Deliver)
        self._consumer = consumer
        self._tag = delivered.delivery_tag
        self.incoming = incoming(message, delivered)
        self.lane = consumer.source.lane
        self.arrived = arrived

    @property
    def alive(self) -> bool:
        """Whether its channel still is the one it came on."""
        return self._consumer.alive

    async def ack(self) -> None:
        """Ack it, within a bound; a loss on the way ends the epoch, not the caller."""
        consumer = self._consumer
        if not consumer.alive or self._tag is None:
            return
        consumer.unacked -= 1
        try:
            await bounded(consumer.wire.basic_ack(self._tag, wait=False), _ACK_SECONDS)
        except BrokerLost:
            consumer.alive = False
            consumer.cancelled.set()


def incoming(message: DeliveredMessage, delivered: Basic.Deliver) -> Incoming:
    """A message as core reads it. Properties of an unexpected type count as absent."""
    properties = message.header.properties
    return Incoming(
        body=message.body,
        message_id=_text(properties.message_id),
        correlation_id=_text(properties.correlation_id),
        reply_to=_text(properties.reply_to),
        timestamp=properties.timestamp,
        headers=properties.headers or {},
        internal=delivered.exchange == INTERNAL,
        redelivered=bool(delivered.redelivered),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


async def begin(
    connection: AbstractConnection, source: Source, deliver: Callable[[BrokerDelivery], None]
) -> Consumer:
    """Start to consume one queue.

    Raises:
        BrokerLost: It could not be started; its kind `ChannelRefused` says why.
    """
    tolerance.install()
    loop = asyncio.get_running_loop()
    channel = connection.channel(publisher_confirms=False)
    await bounded(channel.initialize(), _RPC_SECONDS)
    wire = await channel.get_underlay_channel()
    consumer = Consumer(source, wire, tag=f"resolution-worker.{source.queue}", active=loop.time())

    async def receive(message: DeliveredMessage) -> None:
        consumer.unacked += 1
        consumer.active = loop.time()
        deliver(BrokerDelivery(consumer, message, consumer.active))

    def cancelled(_: object) -> None:
        consumer.cancelled.set()

    wire.on_consumer_cancel_callbacks.add(cancelled)
    await bounded(wire.basic_qos(prefetch_count=source.prefetch), _RPC_SECONDS)
    await bounded(
        wire.basic_consume(source.queue, receive, consumer_tag=consumer.tag), _RPC_SECONDS
    )
    return consumer


async def measure(wire: Wire, queue: str) -> int:
    """How many messages wait in a queue.

    Raises:
        BrokerLost: The broker did not say.
    """
    found = await bounded(wire.queue_declare(queue, passive=True), _RPC_SECONDS)
    return found.message_count or 0


async def end(consumer: Consumer) -> None:
    """Stop being handed messages; what was handed out may still be acked.

    Raises:
        BrokerLost: The connection is gone.
    """
    await bounded(consumer.wire.basic_cancel(consumer.tag), _RPC_SECONDS)


def why_closed(wire: Wire) -> BrokerLost:
    """Why a channel went."""
    closing = wire.closing
    done = closing.done() and not closing.cancelled()
    return loss(closing.exception() if done else None)
