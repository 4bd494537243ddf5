"""A small steady traffic of buyers: the web tier publishes a token now and then."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import aio_pika

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_EXCHANGE: Final = "resolution"
_CONFIRM_SECONDS: Final = 5
_RECONNECT_SECONDS: Final = 0.2
_LOST: Final = (
    OSError,
    TimeoutError,
    aio_pika.exceptions.AMQPError,
    aio_pika.exceptions.ChannelInvalidStateError,
)


class Buyers:
    """Buyers who come one after the other; one a second is one a minute in reality.

    Args:
        url: The web tier's address of the broker.
        word: The first words of their tokens, which tell the simulator what becomes of them.

    Attributes:
        word: As above; it may be changed at any time.
        every: Seconds between two of them.
        came: How many were published and confirmed.
    """

    def __init__(self, url: str, word: str) -> None:
        self._url = url
        self.word = word
        self.every = 1.0
        self.came = 0

    @asynccontextmanager
    async def coming(self) -> AsyncIterator[None]:
        """Let them come until the block ends, with a new connection after each loss of one."""
        task = asyncio.create_task(self._come())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def publish(self, *tokens: str) -> None:
        """Publish tokens beside those, over a connection of their own."""
        async with await aio_pika.connect(self._url, timeout=10) as connection:
            exchange = await _exchange(connection)
            for token in tokens:
                await _publish(exchange, token)

    async def _come(self) -> None:
        while True:
            with suppress(*_LOST):
                async with await aio_pika.connect(self._url, timeout=10) as connection:
                    exchange = await _exchange(connection)
                    while True:
                        await _publish(exchange, f"{self.word}-{self.came}")
                        self.came += 1
                        await asyncio.sleep(self.every)
            await asyncio.sleep(_RECONNECT_SECONDS)


async def _exchange(connection: aio_pika.abc.AbstractConnection) -> aio_pika.abc.AbstractExchange:
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    return await channel.get_exchange(_EXCHANGE, ensure=False)


async def _publish(exchange: aio_pika.abc.AbstractExchange, token: str) -> None:
    body = json.dumps({"version": 1, "registration_token": token}).encode()
    message = aio_pika.Message(body, content_type="application/json", delivery_mode=2)
    await exchange.publish(message, "token", mandatory=True, timeout=_CONFIRM_SECONDS)
