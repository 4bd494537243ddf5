"""A message as frames: read back by the library that others read with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.adapters.rabbitmq.framing import frames
from worker.core.exceptions import Unsendable
from worker.core.token.outgoing import Outgoing

SECRET = "s3cret-registration-token"


def outgoing(**given_: Any) -> Outgoing:
    """A message with these fields."""
    fields: dict[str, Any] = {
        "exchange": "resolution",
        "routing_key": "token",
        "body": b"{}",
        "message_id": "m-1",
    }
    return Outgoing(**(fields | given_))


def read(payload: bytes) -> list[Any]:
    """All frames of a payload, each of which must be of channel 7."""
    found = []
    while payload:
        size, channel, frame = pamqp.frame.unmarshal(payload)
        assert channel == 7
        found.append(frame)
        payload = payload[size:]
    return found


@given(body=st.binary(max_size=200), size=st.integers(min_value=1, max_value=64))
def test_a_body_of_any_length_comes_back_whole(body: bytes, size: int) -> None:
    """A body is split into frames no longer than the limit, and nothing of it is lost."""
    method, header, *pieces = read(frames(outgoing(body=body), 7, size))
    assert method.exchange == "resolution"
    assert header.body_size == len(body)
    assert b"".join(piece.value for piece in pieces) == body
    assert all(0 < len(piece.value) <= size for piece in pieces)


def test_all_properties_travel() -> None:
    """Every field of a message is there when it is read back, and it is persistent JSON."""
    moment = datetime(2026, 11, 22, 3, 28, tzinfo=UTC)
    message = outgoing(
        correlation_id="c-1",
        reply_to="resolution.reply.web",
        timestamp=moment,
        headers={"x-resolution-attempts": 3, "x-resolution-received-at": 1_795_000_000_000},
        mandatory=True,
    )
    method, header, _ = read(frames(message, 7, 1000))
    found = header.properties
    assert (method.routing_key, method.mandatory) == ("token", True)
    assert (found.message_id, found.correlation_id) == ("m-1", "c-1")
    assert (found.reply_to, found.timestamp) == ("resolution.reply.web", moment)
    assert found.headers == message.headers
    assert (found.content_type, found.delivery_mode) == ("application/json", 2)


def test_no_frame_limit() -> None:
    """A broker that sets no limit to frames gets a body in one."""
    *_, body = read(frames(outgoing(body=b"x" * 300_000), 7, -8))
    assert len(body.value) == 300_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("routing_key", "x" * 256),
        ("message_id", "é" * 128),
        ("correlation_id", SECRET * 20),
        ("reply_to", "\ud800"),
        ("message_id", 7),
    ],
)
def test_what_amqp_cannot_carry_is_named(field: str, value: object) -> None:
    """A property that can't be carried is named by its field, and its value is not shown."""
    with pytest.raises(Unsendable) as caught:
        frames(outgoing(**{field: value}), 7, 1000)
    assert field in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_header_of_no_amqp_type() -> None:
    """A header that AMQP has no type for is refused, too."""
    with pytest.raises(Unsendable, match="header"):
        frames(outgoing(headers={"x-resolution-attempts": object()}), 7, 1000)
