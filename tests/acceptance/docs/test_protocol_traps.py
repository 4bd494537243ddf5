"""The traps that `docs/protocol.md` names: the broker says what the page says it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError

from harness.servers import reply_key

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
Trap: TypeAlias = Callable[[Any, str], Awaitable[object]]


def message(**properties: Any) -> aio_pika.Message:
    """A submission that nobody would take, were it published."""
    return aio_pika.Message(b"{}", message_id="trap", **properties)


async def _publish(channel: Any, exchange: str, key: str, **properties: Any) -> None:
    taken = await channel.get_exchange(exchange, ensure=False)
    await taken.publish(message(**properties), key, mandatory=True)


async def unnamed_queue(channel: Any, _: str) -> None:
    """A queue that the broker names."""
    await channel.declare_queue(exclusive=True)


async def declared_exchange(channel: Any, _: str) -> None:
    """What frameworks do before they publish."""
    await channel.declare_exchange("resolution", aio_pika.ExchangeType.DIRECT, durable=True)


async def default_exchange(channel: Any, _: str) -> None:
    """Straight into the lane."""
    await channel.default_exchange.publish(message(), "resolution.tokens", mandatory=True)


async def direct_reply_to(channel: Any, _: str) -> None:
    """The broker's own pattern for replies, without a consumer."""
    await _publish(channel, "resolution", "token", reply_to="amq.rabbitmq.reply-to")


async def anothers_name(channel: Any, _: str) -> None:
    """Somebody else's turns."""
    await _publish(channel, "resolution", "token", user_id="somebody")


async def fixed_queue(channel: Any, url: str) -> None:
    """The same name in the next life of the connection, while the broker holds the former."""
    name = reply_key(url, "fixed")
    await channel.declare_queue(name, exclusive=True)
    async with await aio_pika.connect(url, timeout=30) as next_life:
        await (await next_life.channel()).declare_queue(name, exclusive=True)


@pytest.mark.parametrize(
    ("trap", "words"),
    [
        (unnamed_queue, "access to queue 'amq.gen-"),
        (declared_exchange, "access to exchange 'resolution'"),
        (default_exchange, "access to exchange 'amq.default'"),
        (direct_reply_to, "fast reply consumer does not exist"),
        (anothers_name, "user_id property set to"),
        (fixed_queue, "RESOURCE_LOCKED"),
    ],
)
async def test_a_trap_is_what_the_page_says(
    shared_stage: Installation, trap: Trap, words: str
) -> None:
    """Whoever falls into it with a caller's rights reads the words that the page has."""
    async with await aio_pika.connect(shared_stage.web, timeout=30) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        with pytest.raises(AMQPError, match=words):
            await trap(channel, shared_stage.web)
    assert words in PAGE


async def test_what_is_not_mandatory_is_lost_with_a_confirm(shared_stage: Installation) -> None:
    """A wrong key is an error with `mandatory`, and a success without."""
    async with await aio_pika.connect(shared_stage.web, timeout=30) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange("resolution", ensure=False)
        with pytest.raises(AMQPError, match="NO_ROUTE"):
            await exchange.publish(message(), "tokens", mandatory=True)
        assert await exchange.publish(message(), "tokens", mandatory=False)


async def test_exchanges_may_be_declared_passively(shared_stage: Installation) -> None:
    """Frameworks that insist on declaring can be told to do it passively."""
    async with await aio_pika.connect(shared_stage.web, timeout=30) as connection:
        channel = await connection.channel()
        for exchange in ("resolution", "resolution.answers", "resolution.state"):
            await channel.declare_exchange(exchange, passive=True)


async def test_a_direct_reply_never_comes(
    shop: WebTier, shared_stage: Installation, shared_worker: Worker
) -> None:
    """Direct reply-to is taken, the token is resolved, no reply is sent, and that is counted."""
    heard: list[object] = []

    async def hear(reply: object) -> None:
        heard.append(reply)

    before = await shared_worker.metric("resolution_oddities_total", member="reply_to")
    async with await aio_pika.connect(shared_stage.web, timeout=30) as connection:
        channel = await connection.channel(publisher_confirms=True)
        direct = await channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
        await direct.consume(hear, no_ack=True)
        exchange = await channel.get_exchange("resolution", ensure=False)
        submission = aio_pika.Message(
            b'{"registration_token": "ok-direct"}',
            message_id="directly",
            reply_to="amq.rabbitmq.reply-to",
        )
        await exchange.publish(submission, "token", mandatory=True)
        assert (await shop.event("directly")).status == "resolved"
    assert heard == []
    after = await shared_worker.metric("resolution_oddities_total", member="reply_to")
    assert after == before + 1
