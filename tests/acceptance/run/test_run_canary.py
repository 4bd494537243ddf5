"""A token that must not be seen goes every way there is, and is looked for everywhere."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import TYPE_CHECKING, Any

import aio_pika

from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from tests.acceptance.outcomes import buyers
from tests.acceptance.ways_out import around, everything

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.servers import Broker, Database
    from harness.web_tier import WebTier


def unreadable(canary: str) -> list[dict[str, Any]]:
    """Messages that break a rule and hold the secret where it is easily shown."""
    token, n = f"ok-{canary}", itertools.count()

    def one(body: Any, **properties: Any) -> dict[str, Any]:
        # Each its own body, for an id that can't be shown is derived from the body.
        whole = body if isinstance(body, bytes) else json.dumps({**body, "n": next(n)}).encode()
        return {"body": whole, **properties}

    return [
        one(token.encode()),
        one(b'{"registration_token": "%b"' % token.encode()),
        one(b'["%b"]' % token.encode()),
        one(b'"%b"' % token.encode()),
        one(b"\xff" + token.encode()),
        one({"registration_token": f"{token} x"}),
        one({"registration_token": f"{token}%2B"}),
        one({"registration_token": f"{token}\0"}),
        one({"registration_token": token * 400}),
        one({"registration_token": token, "version": token}),
        one({"registration_token": token, "seller": token}),
        one({"registration_token": token, "metadata": token}),
        one({"registration_token": token, "metadata": {token: 1}}),
        one({"registration_token": token, "metadata": {"a": [[f"http://x/?t={token}"]]}}),
        one({"registration_token": token}, message_id=f"m-{token}"),
        one({"registration_token": token}, correlation_id=token),
        one({"registration_token": token, "seller": "x"}, message_id=token, correlation_id=token),
        one({"token": token}, message_id=token),
        one({"registration_token": [token]}, correlation_id=token),
        one({"registration_token": token, "padding": "x" * 70_000}, message_id=token),
    ]


def readable(canary: str) -> list[dict[str, Any]]:
    """Submissions of every fate."""
    kinds = (
        "ok", "new", "old", f"same-{canary}", "invalid", "expired", "fail-1", "fail-9", "garbage",
        "empty", "hang", "throttle-2", "unknown", "denied",
    )  # fmt: skip
    return [
        *({"token": f"{kind}-{canary}-{n}"} for n, kind in enumerate(kinds)),
        {"token": f"ok-{canary}-o", "offer_type": f"ok-{canary}-o"},
        {"token": f"ok-{canary}-p", "received_at": f"ok-{canary}-p", "progress": f"ok-{canary}-p"},
        {"token": f"ok-{canary}-q", "reply_to": f"resolution.reply.ok-{canary}-q"},
        {"token": f"ok-{canary}-r", "reply_to": f"ok-{canary}-r"},
        {"token": f"ok-{canary}-s", "more": {"a": f"ok-{canary}-s"}},
    ]


async def test_a_token_is_seen_nowhere(
    stage: Installation, web: WebTier, broker: Broker, database: Database
) -> None:
    """No log, metric, table, reply, event, server log or list of processes shows a token."""
    canary = f"k{uuid.uuid4().hex}"
    async with proxy_to(stage.worker_url) as proxy:
        worker = await stage.run(
            WORKER_AMQP__URL=proxy.url, WORKER_LOG__LEVEL="debug", WORKER_AWS__TIMEOUT="1s"
        )

        sent = await _go_every_way(stage, web, canary)
        await _cut_everything(stage, proxy.reset)
        async with buyers(web) as came:
            await eventually(lambda: len(web.events.keys() - came) == sent, f"{sent} outcomes")
        # Whoever is called for when AWS begins to speak a token out is told of a token to come.
        await eventually(lambda: web.events.keys() >= set(came), "all buyers have their outcomes")
        await _suffer_faults(stage, web, proxy.reset, canary)
        parked = "SELECT FROM resolution.dead_letter WHERE reason = 'parked'"
        await eventually(lambda: stage.schema.rows(parked), "the parked message is collected")

        seen = await everything(stage, web, worker)
        worker.kill()
    seen["log"] = worker.said
    seen["broker's log"] = broker.log.read_text(encoding="utf-8", errors="replace")
    seen["database's log"] = database.log.read_text(encoding="utf-8", errors="replace")

    for part in ("log", "metrics", "tables", "events", "replies", "processes"):
        assert len(seen[part]) > 500, f"{part} was not looked at"
    assert worker.said.count("token_settled") > 20
    spellings = (canary, canary.encode().hex(), canary.upper())
    leaks = {
        part: around(text, one) for part, text in seen.items() for one in spellings if one in text
    }
    assert leaks == {}


async def _go_every_way(stage: Installation, web: WebTier, canary: str) -> int:
    for message in unreadable(canary):
        properties = {"reply_to": web.reply_to, **message}
        await web.publish(properties.pop("body"), **properties)
    submissions = readable(canary)
    for submission in submissions:
        await web.submit(**{"reply_to": web.reply_to, **submission})
    async with await aio_pika.connect(stage.broker.url) as connection:
        channel = await connection.channel()
        internal = await channel.get_exchange("resolution.internal", ensure=False)
        parked = json.dumps({"registration_token": f"ok-{canary}"}).encode()
        await internal.publish(
            aio_pika.Message(parked, message_id=canary, correlation_id=canary), "parked"
        )
    return len(unreadable(canary)) + len(submissions)


async def _cut_everything(stage: Installation, cut: Any) -> None:
    await cut()
    await stage.schema.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'resolution_worker' AND datname = current_database()"
    )


async def _suffer_faults(stage: Installation, web: WebTier, cut: Any, canary: str) -> None:
    """AWS speaks the token out in each kind of error, and all connections are lost meanwhile."""
    for code, status in {
        "InvalidTokenException": 400,
        "InternalServiceErrorException": 500,
        "AccessDeniedException": 400,
        "NeverHeardOfException": 400,
    }.items():
        token = f"ok-{canary}-{code[:5]}{status}"
        fault = {"code": code, "status": status, "message": f"the token {token} is odd"}
        await stage.simulator.order("PUT", "fault", fault)
        calls = await stage.simulator.calls()
        message_id = await web.submit(token, reply_to=web.reply_to)

        async def is_called(calls: int = calls) -> bool:
            return await stage.simulator.calls() > calls

        await eventually(is_called, "a call")
        await _cut_everything(stage, cut)
        if code == "AccessDeniedException":
            await stage.simulator.order("DELETE", "fault")
        await web.event(message_id)
    await stage.simulator.order("DELETE", "fault")
