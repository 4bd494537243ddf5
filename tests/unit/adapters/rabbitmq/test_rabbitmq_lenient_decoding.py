"""Properties that can't be read, as they come off the wire."""

from __future__ import annotations

import struct
from typing import Any, cast

import pytest
from aiormq.abc import DeliveredMessage
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from worker.adapters.rabbitmq import lenient_decoding
from worker.adapters.rabbitmq.delivery import incoming
from worker.core.token.poison import came_back_often


def table(entries: bytes) -> bytes:
    """A table of entries."""
    return struct.pack(">I", len(entries)) + entries


@given(st.binary(max_size=255))
def test_a_short_text_can_always_be_sent_on(text: bytes) -> None:
    """Whatever stands in it, what is read of it fits into a short string again."""
    end, read = lenient_decoding.short_text(bytes([len(text)]) + text + b"more")
    assert end == 1 + len(text)
    assert len(read.encode()) <= 255


def test_replacements_that_grow_too_long_count_as_empty() -> None:
    """A replacement has three bytes: 85 of them still fit, 86 do not."""
    assert lenient_decoding.short_text(b"\x55" + b"\xff" * 85) == (86, "\ufffd" * 85)
    assert lenient_decoding.short_text(b"\x56" + b"\xff" * 86) == (87, "")


@pytest.mark.parametrize("entries", [b"\x01\xffV", b"\x01aT" + b"\xff" * 8])
def test_headers_that_can_not_be_read_are_those_of_a_suspect(entries: bytes) -> None:
    """With them the broker's count is lost, so the message counts as one that came back often."""
    end, read = lenient_decoding.table(table(entries))
    assert end == 4 + len(entries)
    assert came_back_often(read, redelivered=True)


def text(name: str, value: str) -> bytes:
    """An entry of a table: a name and a long string."""
    return (
        bytes([len(name)]) + name.encode() + b"S" + struct.pack(">I", len(value)) + value.encode()
    )


def test_of_headers_that_are_too_many_nothing_is_read() -> None:
    """The message is handled all the same, as one of a suspect; what was unread can be told."""
    fits = table(text("a", "x" * (lenient_decoding.MOST_TABLE_BYTES - 7)))
    assert lenient_decoding.table(fits) == (
        len(fits),
        {"a": "x" * (lenient_decoding.MOST_TABLE_BYTES - 7)},
    )
    large = table(
        text("x-delivery-count", "7") + text("a", "x" * lenient_decoding.MOST_TABLE_BYTES)
    )
    end, read = lenient_decoding.table(large)
    assert end == len(large)
    assert came_back_often(read, redelivered=True)
    assert lenient_decoding.UNREAD in read
    assert len(read) == 2


def headers_kept(headers: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a delivered message's headers."""
    delivered = Basic.Deliver("c", 1, exchange="resolution.internal")
    header = ContentHeader(properties=Basic.Properties(headers=headers))
    message = DeliveredMessage(delivered, header, b"", cast("Any", None))
    return dict(incoming(message, delivered).headers)


@pytest.mark.parametrize("value", [{"a": None}, [None] * 9, "x" * 513, b"x" * 513, bytearray(513)])
def test_of_large_values_under_names_that_are_kept_nothing_is(value: object) -> None:
    """A table or long text under a name of ours is let go, the message's other headers are not."""
    ours = {"x-resolution-attempts": 3, "tracestate": "y" * 512, "x-delivery-count": 1}
    assert headers_kept({**ours, "traceparent": value, "stranger": "s"}) == ours
