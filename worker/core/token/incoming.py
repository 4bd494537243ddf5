"""A message as the broker delivered it, and the form in which it is sealed into a dead letter."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from worker.core.timestamps import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.core.records import Lane

MAX_BODY_BYTES: Final = 64 * 1024
KEPT_OF_TOO_LARGE_BYTES: Final = 8 * 1024
"""So much is kept of a body beyond that: it shows what it is, and never can be replayed."""

# The place of a message in a trace (https://www.w3.org/TR/trace-context/): they stay with it.
TRACE_HEADERS: Final = ("traceparent", "tracestate")
MOST_TRACE_CHARS: Final = 512


class Whole(NamedTuple):
    """What is known of a body of which only the beginning was kept."""

    size: int
    sha256: bytes


class Death(NamedTuple):
    """Why the broker itself has taken a message out of its queue: its own word, and its lane."""

    reason: str
    lane: Lane | None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as the broker delivered it, not read yet; `repr` shows nothing of its content.

    Attributes:
        headers_unread: It has more headers than are read.
        internal: It came through `resolution.internal`, so that our headers may be believed.
        timestamp: The AMQP timestamp (resolution: one second), or None.
        user_id: The broker's user who published it, as the broker has checked.
        whole: Of a message that was `shortened`; else None.
        death: Of one that the broker has parked; else None.
    """

    body: bytes = field(repr=False)
    message_id: str | None = field(default=None, repr=False)
    correlation_id: str | None = field(default=None, repr=False)
    reply_to: str | None = field(default=None, repr=False)
    timestamp: datetime | None = None
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    headers_unread: bool = False
    internal: bool = False
    redelivered: bool = False
    user_id: str | None = None
    whole: Whole | None = None
    death: Death | None = None

    @property
    def body_bytes(self) -> int:
        """How long the body was when it was delivered."""
        return len(self.body) if self.whole is None else self.whole.size

    @property
    def body_sha256(self) -> bytes:
        """The SHA-256 of the body as it was delivered."""
        return hashlib.sha256(self.body).digest() if self.whole is None else self.whole.sha256

    @property
    def trace(self) -> dict[str, str]:
        """Its place in a trace, as far as it can be passed on."""
        found = ((name, self.headers.get(name)) for name in TRACE_HEADERS)
        return {
            name: value
            for name, value in found
            if isinstance(value, str) and len(value) <= MOST_TRACE_CHARS and value.isprintable()
        }


def derived_id(incoming: Incoming) -> str:
    """The message id of a message that has none: the same for the same message each time."""
    stamp = "" if incoming.timestamp is None else incoming.timestamp.isoformat()
    return _DERIVED + hashlib.sha256(incoming.body + stamp.encode()).hexdigest()[:32]


def is_derived(message_id: str) -> bool:
    """Whether a message has this id from us: then another may have the same, word for word."""
    return message_id.startswith(_DERIVED)


_DERIVED: Final = "derived-"


def envelope(incoming: Incoming) -> bytes:
    """What is sealed of a message: a line of JSON with its properties, then its body.

    Of a body that is too large only the opening is kept. Only the holder of an opening key can read
    it.
    """
    properties = {
        "message_id": incoming.message_id,
        "correlation_id": incoming.correlation_id,
        "reply_to": incoming.reply_to,
        "timestamp": None if incoming.timestamp is None else format_time(incoming.timestamp),
        "body_bytes": incoming.body_bytes,
    }
    return msgspec.json.encode(properties) + b"\n" + _kept(incoming.body)


def _kept(body: bytes) -> bytes:
    return body if len(body) <= MAX_BODY_BYTES else body[:KEPT_OF_TOO_LARGE_BYTES]


def shortened(incoming: Incoming, sha256: bytes | None = None) -> Incoming:
    """A message that was read, without what is never sealed of its body; most stay as they are.

    Args:
        incoming: The message.
        sha256: Of its body, if that is known.
    """
    kept = _kept(incoming.body)
    if kept is incoming.body:
        return incoming
    return replace(
        incoming, body=kept, whole=Whole(incoming.body_bytes, sha256 or incoming.body_sha256)
    )


class _Properties(msgspec.Struct):
    body_bytes: int
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    timestamp: str | None = None


_PROPERTIES: Final = msgspec.json.Decoder(_Properties)


def read_envelope(envelope: bytes) -> Incoming | None:
    """The message that `envelope` was made of, without its headers.

    Returns:
        None where not all of its body was kept, or where this is no envelope.
    """
    line, _, body = envelope.partition(b"\n")
    try:
        properties = _PROPERTIES.decode(line)
    except msgspec.DecodeError:
        return None
    if properties.body_bytes != len(body):
        return None
    return Incoming(
        body,
        properties.message_id,
        properties.correlation_id,
        properties.reply_to,
        parse_time(properties.timestamp),
    )
