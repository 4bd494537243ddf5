"""Tokens for the tests, and how an outcome is read from reply, event and database."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.installation import Installation
    from harness.web_tier import Received, WebTier

OUTCOME = {
    "version", "message_id", "status", "repeated", "token_sha256", "product_code",
    "customer_aws_account_id", "customer_identifier", "license_arn", "agreement_id", "offer_type",
    "error", "advice", "metadata", "received_at", "settled_at",
}  # fmt: skip
CALLED_FOR = ("product_code", "customer_aws_account_id", "customer_identifier", "license_arn")
RESTART, CONTACT = "restart_from_marketplace", "contact_seller"


def fresh(prefix: str) -> str:
    """A token that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex}"


def tokens(word: str, count: int) -> list[str]:
    """New tokens of one kind."""
    return [fresh(word) for _ in range(count)]


def sha256(text: str) -> bytes:
    """The fingerprint under which a token stands in the ledger."""
    return hashlib.sha256(text.encode()).digest()


async def row(stage: Installation, token: str) -> dict[str, Any]:
    """What the view of outcomes says of a token; exactly one row."""
    query = "SELECT * FROM resolution.outcomes WHERE token_sha256 = $1"
    (found,) = await stage.schema.rows(query, sha256(token))
    return dict(found)


def instant(text: str) -> datetime:
    """A point in time as outcomes write it: RFC 3339 with an offset."""
    read = datetime.fromisoformat(text)
    assert read.tzinfo is not None
    return read


async def asked(shop: WebTier, token: str, **members: Any) -> tuple[Received, Received]:
    """Submit a token; its event and its reply."""
    correlation_id = uuid.uuid4().hex
    message_id = await shop.submit(
        token, reply_to=shop.reply_to, correlation_id=correlation_id, **members
    )
    event, reply = await shop.event(message_id), await shop.reply(message_id)
    assert (event.correlation_id, reply.correlation_id) == (correlation_id, correlation_id)
    assert event.body["message_id"] == message_id
    return event, reply


@asynccontextmanager
async def buyers(web: WebTier) -> AsyncIterator[list[str]]:
    """Let a buyer come now and then until the block ends; the message ids of those who came.

    Only beside others who succeed is a token that AWS alone refuses known for what it is.
    """
    came: list[str] = []
    over = asyncio.Event()

    async def come() -> None:
        while not over.is_set():
            came.append(await web.submit(fresh("ok")))
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await over.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(come())
        try:
            yield came
        finally:
            over.set()  # and not in the middle of one: each who came is known
