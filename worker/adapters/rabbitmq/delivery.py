"""A message that the broker lent us, in core's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pamqp.commands import Basic

from worker.core import caution
from worker.core.messages import Incoming
from worker.core.outgoing import INTERNAL

if TYPE_CHECKING:
    from aiormq.abc import DeliveredMessage

    from worker.adapters.rabbitmq.consumer import Consumer


class BrokerDelivery:
    """See `worker.ports.Delivery`. A delivery tag means something on its own channel only."""

    __slots__ = ("_consumer", "arrived", "incoming", "lane", "tag")

    def __init__(self, consumer: Consumer, message: DeliveredMessage, arrived: float) -> None:
        delivered = message.delivery
        assert isinstance(delivered, Basic.Deliver)
        self._consumer = consumer
        self.tag: Final = delivered.delivery_tag or 0
        self.incoming = incoming(message, delivered)
        self.lane = consumer.source.lane
        self.arrived = arrived

    @property
    def alive(self) -> bool:
        """Whether its channel still is the one it came on."""
        return self._consumer.alive

    @property
    def suspect(self) -> bool:
        """Whether it may have ended processes before.

        The broker counts from the second delivery on; what a first one says, its publisher wrote.
        """
        return self.incoming.redelivered and caution.is_suspect(self.incoming.headers)

    async def ack(self) -> None:
        """Ack it, within a bound; a loss on the way ends the epoch, not the caller."""
        await self._consumer.ack(self)


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
