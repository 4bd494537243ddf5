"""Tokens for the workers, and the replies to those that a buyer waits for."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aio_pika
import orjson

from worker.adapters.rabbitmq.publisher import Publisher
from worker.core.token.outgoing import ANSWERS, Outgoing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BATCH: Final = 1000
_CONFIRM_SECONDS: Final = 60.0
_REPLY_TO: Final = "resolution.reply.bench"
_TOKEN_LENGTH: Final = 300  # about a real one's


class Supply:
    """Publishes, and measures how long those wait that ask for a reply.

    Attributes:
        waits: Seconds from publishing to the reply, by message id.
        asked: When each of those was published (monotonic seconds).
    """

    def __init__(self, publisher: Publisher, connection: aio_pika.abc.AbstractConnection) -> None:
        self._publisher = publisher
        self._connection = connection
        self._run = uuid.uuid4().hex[:8]
        self._count = 0
        self.waits: dict[str, float] = {}
        self.asked: dict[str, float] = {}

    async def fill(self, count: int, exchange: str = "resolution", key: str = "backlog") -> None:
        """Publish so many tokens at once, which nobody waits for."""
        for start in range(0, count, _BATCH):
            batch = [self._token(exchange, key) for _ in range(min(_BATCH, count - start))]
            faults = await self._publisher.publish_all(batch, _CONFIRM_SECONDS)
            for fault in filter(None, faults):
                raise fault

    async def stream(self, rate: float, seconds: float) -> None:
        """Publish tokens to the live lane, so many a second, each of which a buyer waits for."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(round(rate * seconds)):
                await asyncio.sleep(began + number / rate - loop.time())
                group.create_task(self._ask())

    async def _ask(self) -> None:
        message = self._token("resolution", "token", reply_to=_REPLY_TO)
        self.asked[message.message_id] = time.monotonic()
        await self._publisher.publish(message, _CONFIRM_SECONDS)

    def _token(self, exchange: str, key: str, reply_to: str | None = None) -> Outgoing:
        self._count += 1
        name = f"{self._run}-{self._count}"
        token = f"ok-{name}-".ljust(_TOKEN_LENGTH, "x")
        body = orjson.dumps({"version": 1, "registration_token": token})
        return Outgoing(exchange, key, body, f"m-{name}", reply_to=reply_to, mandatory=True)

    async def hear(self) -> None:
        """Begin to listen for replies."""
        channel = await self._connection.channel()
        queue = await channel.declare_queue(_REPLY_TO, exclusive=True)
        await queue.bind(ANSWERS, _REPLY_TO)
        await queue.consume(self._replied, no_ack=True)

    async def _replied(self, message: Any) -> None:
        message_id = orjson.loads(message.body)["message_id"]
        self.waits.setdefault(message_id, time.monotonic() - self.asked[message_id])

    async def waiting(self, queue: str) -> int:
        """How many messages are ready in a queue."""
        async with self._connection.channel() as channel:
            found = await channel.declare_queue(queue, passive=True)
            return found.declaration_result.message_count or 0


@asynccontextmanager
async def supplying(url: str) -> AsyncIterator[Supply]:
    """A supply until the block ends, as a broker's user who may do anything."""
    async with await aio_pika.connect(url) as publishing, await aio_pika.connect(url) as other:
        yield Supply(await Publisher.open(publishing), other)
