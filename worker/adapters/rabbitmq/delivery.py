"""A message that the broker has delivered, in core's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pamqp.commands import Basic

from worker.adapters.rabbitmq import lenient_decoding
from worker.adapters.rabbitmq.topology import LANE_QUEUES, PARKED_KEY
from worker.core.token import poison
from worker.core.token.headers import OUR_HEADERS
from worker.core.token.incoming import MOST_TRACE_CHARS, TRACE_HEADERS, Death, Incoming, shortened
from worker.core.token.outgoing import INTERNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiormq.abc import DeliveredMessage

    from worker.core.records import Lane


# Whatever else a publisher has written is let go at once, and so are tables under these names: one
# of 8 KiB takes hundreds of kilobytes once it is read.
_KEPT: Final = (*OUR_HEADERS, *TRACE_HEADERS, poison.DELIVERIES_HEADER)
_DEATHS: Final = "x-death"
_LANES: Final = {queue: lane for lane, queue in LANE_QUEUES.items()}


class BrokerDelivery:
    """See `worker.ports.Delivery`. A delivery tag means something on its own channel only.

    Attributes:
        alive: Until its channel is gone or it was returned to its queue.
    """

    __slots__ = ("_ack", "alive", "arrived", "incoming", "lane", "tag")

    def __init__(
        self,
        message: DeliveredMessage,
        lane: Lane | None,
        arrived: float,
        ack: Callable[[BrokerDelivery], None],
    ) -> None:
        delivered = message.delivery
        assert isinstance(delivered, Basic.Deliver)
        self._ack = ack
        self.tag: Final = delivered.delivery_tag or 0
        self.incoming = incoming(message, delivered)
        self.lane = lane
        self.arrived = arrived
        self.alive = True

    @property
    def came_back_often(self) -> bool:
        """Whether the broker has handed it out in vain so often that it may be suspected."""
        told = self.incoming
        return poison.came_back_often(told.headers, redelivered=told.redelivered)

    def shorten(self, sha256: bytes | None = None) -> None:
        """Keep no more of a body that is too large than is ever sealed."""
        self.incoming = shortened(self.incoming, sha256)

    def ack(self) -> None:
        """Ack it soon; a loss on the way ends the epoch."""
        self._ack(self)


def incoming(message: DeliveredMessage, delivered: Basic.Deliver) -> Incoming:
    """A message as core reads it. Properties of an unexpected type count as absent."""
    properties = message.header.properties
    headers: Mapping[Any, Any] = properties.headers or {}
    came_through: str | None = delivered.exchange
    death: Death | None = None
    if came_through == INTERNAL and delivered.routing_key == PARKED_KEY:
        came_through, death = _death(headers.get(_DEATHS))
    return Incoming(
        body=message.body,
        message_id=_text(properties.message_id),
        correlation_id=_text(properties.correlation_id),
        reply_to=_text(properties.reply_to),
        user_id=_text(properties.user_id),
        timestamp=properties.timestamp,
        headers={
            name: headers[name] for name in _KEPT if name in headers and _is_short(headers[name])
        },
        headers_unread=lenient_decoding.UNREAD in headers,
        internal=came_through == INTERNAL,
        redelivered=bool(delivered.redelivered),
        death=death,
    )


def _death(deaths: Any) -> tuple[str | None, Death | None]:
    """Through which exchange a parked message had come before its latest death, and that.

    A message of ours dies once in a lane, for nothing of this header travels on. A count beyond
    that is a publisher's invention, and so is the exchange beside it. A worker parks without one.
    """
    latest = deaths[0] if isinstance(deaths, list) and deaths else None
    if not isinstance(latest, dict):
        return INTERNAL, None
    came_through = _text(latest.get("exchange")) if latest.get("count") == 1 else None
    lane = _LANES.get(_text(latest.get("queue")) or "")
    return came_through, Death(_text(latest.get("reason")) or "", lane)


def _is_short(value: Any) -> bool:
    if isinstance(value, str | bytes | bytearray):
        return len(value) <= MOST_TRACE_CHARS
    return not isinstance(value, dict | list)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
