"""Messages that can't be read, through a running worker."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from harness.waiting import eventually
from tests.acceptance.outcomes import CONTACT, OUTCOME, fresh, sha256

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.web_tier import Received, WebTier


def bad_bodies() -> dict[str, bytes]:
    """Bodies that can't be read, by the reason; each reason has a code of its own."""

    def told(**members: object) -> bytes:
        return json.dumps({"registration_token": fresh("ok"), **members}).encode()

    token = fresh("ok")
    return {
        "empty": b"",
        "not UTF-8": b'{"registration_token": "ok-\xff"}',
        "not JSON": b'{"registration_token": "ok-',
        "no object": b'["ok-1"]',
        "over 64 KiB": told(padding="x" * 65_536),
        "token missing": json.dumps({"version": 1}).encode(),
        "token of another type": told(registration_token=5),
        "token empty": told(registration_token=""),
        "token too long": told(registration_token="ok-" + "x" * 8_190),
        "white space": told(registration_token="ok-a b"),
        "escape": told(registration_token="ok-a%2Bb"),
        "NUL": told(registration_token="ok-a\0b"),
        "unknown seller": told(seller="somebody"),
        "unknown version": told(version=2),
        "metadata no object": told(metadata=[1]),
        "metadata too large": told(metadata={"a": "x" * 4_096}),
        "metadata with the token": told(registration_token=token, metadata={"a": [token]}),
    }


# Of these it is only known that they can't be read.
MORE_BAD_BODIES = {
    "a bare token": b"ok-bare",
    "nested deep": b'{"registration_token": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "nested deep in metadata": b'{"registration_token": "ok-deep", "metadata": '
    + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "an array nested deep": b"[" * 10_000 + b"]" * 10_000,
    "20 MB": b'{"registration_token": "ok-big", "padding": "' + b"x" * 20_000_000 + b'"}',
    "20 MB of nothing": b"\0" * 20_000_000,
    "token null": b'{"registration_token": null}',
    "token an object": b'{"registration_token": {"a": "ok-1"}}',
    "version true": b'{"registration_token": "ok-1", "version": true}',
    "two objects": b'{"registration_token": "ok-1"} {}',
    "a lone surrogate": b'{"registration_token": "ok-\\ud800"}',
}  # fmt: skip


async def test_what_can_not_be_read_is_recorded_and_harms_nobody(
    shop: WebTier, shared_stage: Installation
) -> None:
    """Each bad body is answered malformed with its reason's own code, and its neighbours settle."""
    named = bad_bodies()
    ids, neighbours = {}, []
    for reason, body in (named | MORE_BAD_BODIES).items():
        ids[reason] = f"bad-{uuid.uuid4()}"
        await shop.publish(body, message_id=ids[reason], reply_to=shop.reply_to)
        neighbours.append(await shop.submit(fresh("ok")))

    codes = {}
    for reason, message_id in ids.items():
        event, reply = await shop.event(message_id), await shop.reply(message_id)
        assert event.body == reply.body
        assert set(event.body) == OUTCOME
        assert (event.routing_key, event.status) == ("token.malformed", "malformed"), reason
        assert event.body["advice"] == CONTACT
        codes[reason] = event.body["error"]["code"]
        assert codes[reason], reason
        assert event.body["error"]["message"], reason
        body = (named | MORE_BAD_BODIES)[reason]
        (recorded,) = await shared_stage.schema.rows(
            "SELECT * FROM resolution.malformed WHERE message_id = $1", message_id
        )
        assert recorded["body_sha256"] == hashlib.sha256(body).digest(), reason
        assert recorded["reason"], reason
    assert [(await shop.event(message_id)).status for message_id in neighbours] == [
        "resolved"
    ] * len(ids)
    own = [codes[reason] for reason in named]
    assert len(set(own)) == len(own), codes


@pytest.mark.parametrize("place", ["message_id", "correlation_id", "metadata"])
async def test_an_echo_that_holds_the_token_is_not_given(
    shop: WebTier, shared_stage: Installation, place: str
) -> None:
    """A message whose id, correlation id or metadata contains the token tells nobody the token."""
    token = fresh("ok")
    holder: Any = {"deep": [f"x{token}y"]} if place == "metadata" else f"x{token}y"

    message_id = await shop.submit(token, reply_to=shop.reply_to, **{place: holder})

    def found() -> list[Received]:
        told = [one for many in shop.events.values() for one in many]
        return [one for one in told if one.body["token_sha256"] == sha256(token).hex()]

    (event,) = await eventually(found, "its event")
    reply = await shop.reply(event.body["message_id"])
    assert event.status == reply.status == "malformed"
    assert token.encode() not in event.raw
    assert token not in repr((event, reply))
    assert (event.body["message_id"] == message_id) == (place != "message_id")
