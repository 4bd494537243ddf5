"""A message as the frames that carry it over AMQP 0-9-1."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import pamqp.frame
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from worker.core.exceptions import Unsendable

if TYPE_CHECKING:
    from worker.core.token.outgoing import Outgoing

CONTENT_TYPE: Final = "application/json"
_PERSISTENT: Final = 2
_MOST_SHORT_BYTES: Final = 255


def frames(message: Outgoing, channel: int, max_body_bytes: int) -> bytes:
    """The frames of one persistent message.

    Args:
        message: What to send.
        channel: Number of the channel.
        max_body_bytes: Most bytes of body in one frame; not positive for no limit.

    Raises:
        Unsendable: A short text has more than 255 bytes, or a value is of no AMQP type. The
            message names the fault and never a value.
    """
    try:
        method = _method(message.exchange, message.routing_key, message.mandatory, channel)
        return method + _content(message, channel, max_body_bytes)
    except (ValueError, TypeError, OverflowError, struct.error):
        raise Unsendable(_fault(message)) from None


@lru_cache(maxsize=1024)
def _method(exchange: str, routing_key: str, mandatory: bool, channel: int) -> bytes:  # noqa: FBT001 - arguments of a cache
    method = commands.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    return pamqp.frame.marshal(method, channel)


def _content(message: Outgoing, channel: int, max_body_bytes: int) -> bytes:
    body = message.body
    header = ContentHeader(body_size=len(body), properties=_properties(message))
    size = max_body_bytes if max_body_bytes > 0 else max(len(body), 1)
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return pamqp.frame.marshal(header, channel) + b"".join(
        pamqp.frame.marshal(ContentBody(piece), channel) for piece in pieces
    )


def _properties(message: Outgoing) -> commands.Basic.Properties:
    return commands.Basic.Properties(
        content_type=CONTENT_TYPE,
        delivery_mode=_PERSISTENT,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        timestamp=message.timestamp,
        user_id=message.user_id,
        headers=dict(message.headers) or None,
    )


def _fault(message: Outgoing) -> str:
    for name in ("exchange", "routing_key", "message_id", "correlation_id", "reply_to", "user_id"):
        text = getattr(message, name)
        try:
            long = text is not None and len(text.encode()) > _MOST_SHORT_BYTES
        except (UnicodeEncodeError, AttributeError):
            return f"its {name} is not text that AMQP can carry"
        if long:
            return f"its {name} has more than {_MOST_SHORT_BYTES} bytes, the most AMQP can carry"
    return "one of its properties or headers has no AMQP type"
