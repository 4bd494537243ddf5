"""Messages whose properties no client library writes by itself."""

from __future__ import annotations

import json
import struct
import uuid
from typing import TYPE_CHECKING

import aio_pika
import pytest
from pamqp.commands import Basic

from harness.waiting import eventually

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.web_tier import WebTier

_HEADERS, _CORRELATION_ID, _REPLY_TO = 1 << 13, 1 << 10, 1 << 9
_MESSAGE_ID, _TIMESTAMP = 1 << 7, 1 << 6


class Raw(Basic.Properties):
    """Properties byte for byte."""

    def __init__(self, flags: int, fields: bytes) -> None:
        super().__init__()
        self._bytes = struct.pack(">H", flags) + fields

    def marshal(self) -> bytes:
        """What stands in the frame."""
        return self._bytes


def short(text: bytes) -> bytes:
    """A short string."""
    return bytes([len(text)]) + text


def table(entries: bytes) -> bytes:
    """A table of entries."""
    return struct.pack(">I", len(entries)) + entries


PROPERTIES = {
    "an instant in milliseconds": Raw(_TIMESTAMP, struct.pack(">Q", 1_800_000_000_000)),
    "an instant out of reach": Raw(_TIMESTAMP, struct.pack(">Q", 2**63 - 1)),
    "the last instant": Raw(_TIMESTAMP, b"\xff" * 8),
    "an id that is no UTF-8": Raw(_MESSAGE_ID, short(b"\xff\xfe")),
    "an id whose replacement is too long": Raw(_MESSAGE_ID, short(b"\xff" * 255)),
    "a correlation id like that": Raw(_CORRELATION_ID, short(b"\xff" * 200)),
    "an address like that": Raw(_REPLY_TO, short(b"resolution.reply." + b"\xff" * 100)),
    "a correlation id that is no UTF-8": Raw(_CORRELATION_ID, short(b"a\xff")),
    "a header that is no UTF-8": Raw(_HEADERS, table(short(b"a") + b"S" + table(b"\xff"))),
    "a header's name that is no UTF-8": Raw(_HEADERS, table(short(b"\xff") + b"V")),
    "a header's instant out of reach": Raw(_HEADERS, table(short(b"a") + b"T" + b"\xff" * 8)),
}  # fmt: skip


@pytest.mark.parametrize("what", PROPERTIES)
async def test_properties_that_can_not_be_read_stop_nobody(
    shop: WebTier, shared_stage: Installation, what: str
) -> None:
    """A message with impossible properties is settled, and so are those behind it."""
    token, neighbour = (f"ok-{uuid.uuid4().hex}" for _ in range(2))
    body = json.dumps({"registration_token": token}).encode()

    async with await aio_pika.connect(shared_stage.web) as connection:
        wire = await (await connection.channel()).get_underlay_channel()
        await wire.basic_publish(
            body, exchange="resolution", routing_key="token", properties=PROPERTIES[what]
        )
    told = await shop.settled(neighbour, seconds=20)

    def found() -> list[str]:
        others = [many for ident, many in shop.events.items() if ident != told.body["message_id"]]
        return [event.status for many in others for event in many]

    statuses = await eventually(found, "its own event", 20)
    assert statuses == ["resolved"]
