"""Hostile messages, in every place where somebody may put one."""

from __future__ import annotations

import json
import struct
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from harness.history import MALFORMED, RESOLVED, Due
from harness.system import conclude
from tests.acceptance.run.test_run_properties import Raw, short, table
from tests.seeds import seeds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.ground import Ground
    from harness.history import Submission
    from harness.submission_factory import SubmissionFactory
    from harness.system import System

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

HEADERS, CORRELATION_ID, MESSAGE_ID, TIMESTAMP = 1 << 13, 1 << 10, 1 << 7, 1 << 6
STALL_SECONDS = 1.0
UNREAD = (Due(MALFORMED),)
EITHER = (Due(RESOLVED), Due(MALFORMED))


def bodies(factory: SubmissionFactory) -> Iterator[Submission]:
    """Bodies that are none, each with what may become of it."""
    salt = factory.salt
    for n, body in enumerate((
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b'"text"',
        b"{" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"registration_token": null, "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"registration_token": 12}',
        b'{"registration_token": ""}',
        b'{"registration_token": "a\\u0000b-' + salt.encode() + b'"}',
        b'{"registration_token": "a b ' + salt.encode() + b'"}',
        b'{"registration_token": "a%2Bb' + salt.encode() + b'"}',
        b'{"registration_token": "\\ud800' + salt.encode() + b'"',
        b'{"registration_token": "' + salt.encode() * 1_000 + b'"}',
        b'{"registration_token": "' + salt.encode() + b'", "registration_token": 1}',
        b'{"version": 1e400, "registration_token": "x-' + salt.encode() + b'"}',
        b'{"version": 2, "registration_token": "x-' + salt.encode() + b'"}',
        b'{"seller": "other", "registration_token": "x-' + salt.encode() + b'"}',
        b'{"metadata": [1], "registration_token": "x-' + salt.encode() + b'"}',
        b'{"metadata": {"a": "' + b"x" * 5_000 + b'"}, "registration_token": "x-'
        + salt.encode() + b'"}',
        b'{"metadata": {"a": "x-' + salt.encode() + b'"}, "registration_token": "x-'
        + salt.encode() + b'"}',
        b'{"offer_type": "x-' + salt.encode() + b'", "registration_token": "x-'
        + salt.encode() + b'"}',
        salt.encode(),
        b'{"registration_token": "x-' + salt.encode() + b'"} and more',
    )):  # fmt: skip
        yield factory.unreadable(body, lane=("live", "backlog")[n % 2])


def odd_yet_sound(factory: SubmissionFactory) -> Iterator[Submission]:
    """Odd members that a token can live with."""
    some: tuple[Mapping[str, object], ...] = (
        {"received_at": "not a time"},
        {"received_at": "9999-12-31T23:59:59Z"},
        {"received_at": 12},
        {"progress": "yes"},
        {"unknown": [[[]]]},
        {"version": None, "seller": None, "offer_type": None},
        {"offer_type": "free-trial"},
    )
    for members in some:
        yield from (factory.one(one.token or "", members=members) for one in factory.of("ok-{n}"))


def deep(factory: SubmissionFactory) -> Submission:
    """A sound token beside a member that is 10,000 deep, which need not be read."""
    (one,) = factory.of("ok-{n}", metadata=None, due=EITHER)
    nested = b"[" * 10_000 + b"]" * 10_000
    body = b'{"x": ' + nested + b', "registration_token": "%s"}' % (one.token or "").encode()
    return replace(one, body=body, due=UNREAD, token=None)


def reply_tos(factory: SubmissionFactory) -> Iterator[tuple[Submission, Mapping[str, Any]]]:
    """Addresses that lead elsewhere than to somebody who waits for a reply."""
    for reply_to in (
        "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAx.x.y",
        "resolution.tokens",
        "resolution.parked",
        "resolution.reply",
        "Resolution.reply.x",
        "resolution.reply.\n",
        "resolution.reply." + "x" * 230,
        "../resolution.reply.x",
        "resolution.reply.*",
        "resolution.reply.#",
        "token",
    ):
        (one,) = factory.of("ok-{n}", reply_to=None)
        yield one, {"reply_to": reply_to}


def headers(factory: SubmissionFactory) -> Iterator[tuple[Submission, Mapping[str, Any]]]:
    """Headers that pretend, and headers beyond measure."""
    for given in (
        {"x-resolution-attempts": 19, "x-resolution-returns": 19},
        {"x-resolution-received-at": 1, "x-resolution-known-since": 1},
        {"x-resolution-replay": 1},
        {"x-delivery-count": 99},
        {"x-delivery-count": -5},
        {"x-death": [{"count": 9, "queue": "resolution.tokens", "reason": "expired"}]},
        {"x-first-death-queue": "resolution.tokens", "x-first-death-reason": "expired"},
        {"CC": ["backlog"]},
        {"BCC": ["backlog", "token"]},
        {f"h{n}": "x" * 400 for n in range(200)},
        {"deep": nested(50)},
        {"x": None, "y": bytearray(b"\x00\xff"), "z": 2**62, "w": -1.5},
    ):
        (one,) = factory.of("ok-{n}")
        yield one, {"headers": given}


def nested(depth: int) -> Any:
    """A table in a table in a table."""
    return {"in": nested(depth - 1)} if depth else 1


def echoes(factory: SubmissionFactory) -> Iterator[tuple[Submission, Mapping[str, Any]]]:
    """Ids that hold the token, or that no database takes."""
    for name in ("correlation_id", "app_id", "user_id", "type", "cluster_id"):
        if name in {"user_id", "cluster_id"}:
            continue  # the broker itself checks the one, the library lacks the other
        (one,) = factory.of("ok-{n}", correlation_id=None, reply_to=None)
        if name == "correlation_id":
            one = replace(one, due=UNREAD, metadata=one.metadata, token=None)
            yield one, {name: json.loads(one.body)["registration_token"]}
        else:
            yield one, {name: json.loads(one.body)["registration_token"]}
    (one,) = factory.of("ok-{n}", correlation_id="c\x00d")
    yield one, {}


async def publish_with(system: System, one: Submission, properties: Mapping[str, Any]) -> None:
    """Publish with properties that a library writes; as the web tier's user."""
    await system.client.publish(one, properties=properties)


def unreadable_properties(factory: SubmissionFactory) -> Iterator[tuple[Submission, Raw]]:
    """Properties byte for byte, as no library writes them; see `docs/decisions`."""
    for flags, before, after, correlation_id in (
        (HEADERS, table(short(b"a") + b"S" + table(b"\xff")), b"", None),
        (HEADERS, table(short(b"\xff") + b"V"), b"", None),
        (HEADERS, table(short(b"a") + b"T" + b"\xff" * 8), b"", None),
        (CORRELATION_ID, short(b"a\xff"), b"", "a\ufffd"),
        (TIMESTAMP, b"", struct.pack(">Q", 2**63 - 1), None),
        (TIMESTAMP, b"", b"\xff" * 8, None),
    ):
        (one,) = factory.of("ok-{n}", reply_to=None, correlation_id=correlation_id)
        ident = short(one.message_id.encode())
        yield one, Raw(flags | MESSAGE_ID, before + ident + after)


async def publish_raw(system: System) -> None:
    """Publish those, each with a confirm."""
    async with await aio_pika.connect(system.stage.web) as connection:
        wire = await (await connection.channel()).get_underlay_channel()
        for one, properties in unreadable_properties(system.factory):
            await wire.basic_publish(
                one.body, exchange="resolution", routing_key="token", properties=properties
            )
            system.client.sent.append(replace(one, at=time.time()))


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_hostile_messages(ground: Ground, seed: int) -> None:
    """Whatever anybody writes, each message has its outcome, and neighbours are not held up."""
    async with ground.system(seed) as system:
        factory = system.factory
        await system.run()
        hostile: list[tuple[Submission, Mapping[str, Any]]] = [
            *((one, {}) for one in (*bodies(factory), *odd_yet_sound(factory), deep(factory))),
            *reply_tos(factory),
            *headers(factory),
            *echoes(factory),
        ]
        factory.chance.shuffle(hostile)
        await publish_raw(system)
        slowest = await system.recovery()
        for start in range(0, len(hostile), 8):
            for one, properties in hostile[start : start + 8]:
                await publish_with(system, one, properties)
            slowest = max(slowest, await system.recovery())
        await system.settled(system.client.sent)

        assert slowest <= STALL_SECONDS
        await conclude(system, "hostile messages", seed, slowest)


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_a_body_of_20_megabytes(ground: Ground, seed: int) -> None:
    """A body far beyond the limit is malformed, and holds nobody up for long."""
    async with ground.system(seed) as system:
        await system.run()
        await system.client.publish_all(system.factory.some(40))
        # Not as its token: of such a message nothing is echoed, its id neither.
        huge = b'{"filler": "' + b"a" * (20 * 1024 * 1024) + b'"}'
        await system.client.publish(system.factory.unreadable(huge))
        recovered = await system.recovery()
        await conclude(system, "body of 20 MB", seed, recovered)
