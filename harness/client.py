"""A client of the worker: publishes until it is confirmed, and receives all replies and events.

It survives whatever happens to the broker: its queues are durable, it connects again, and it
publishes again what was not confirmed, as a web tier has to.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aio_pika
from aio_pika.exceptions import AMQPException

from harness import contract
from harness.history import EVENT, REPLY, Received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from harness.history import Submission
    from harness.submission_factory import Requester

LANES = {"live": "token", "backlog": "backlog"}
_EVENTS = "listening.events"
_QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}
_BROKEN = (AMQPException, OSError, RuntimeError, TimeoutError, asyncio.InvalidStateError)


class Client:
    """Publishes submissions, and receives what becomes of them.

    Args:
        web: The web tier's address.
        owner: The address of somebody who may do anything.
        requesters: Who wants replies; each has a queue of its own.

    Attributes:
        received: Everything received so far.
        sent: Everything published so far, with the time of its confirm.
    """

    def __init__(self, web: str, owner: str, requesters: Mapping[str, Requester]) -> None:
        # Without heartbeats, so that a broker that only sleeps finds its connections again.
        self._web = f"{web}?heartbeat=0"
        self._owner = f"{owner}?heartbeat=0"
        self._requesters = requesters
        self._finals: dict[str, float] = {}
        self._publisher: Any = None
        self._ready = asyncio.Event()
        self.received: list[Received] = []
        self.sent: list[Submission] = []

    def settled_at(self, message_id: str) -> float | None:
        """When the event of a submission was first received (seconds since the epoch)."""
        return self._finals.get(message_id)

    async def declare(self) -> None:
        """Declare the queues that it receives from."""
        async with await aio_pika.connect(self._owner, timeout=30) as connection:
            channel = await connection.channel()
            events = await channel.declare_queue(_EVENTS, durable=True, arguments=_QUORUM)
            await events.bind("resolution.events", "#")
            for requester in self._requesters.values():
                queue = await channel.declare_queue(requester.key, durable=True, arguments=_QUORUM)
                await queue.bind("resolution.answers", requester.key)

    async def publish(
        self, one: Submission, *, properties: Mapping[str, Any] | None = None
    ) -> Submission:
        """Publish until it is confirmed; returns it with the time of that."""
        while True:
            await self._ready.wait()
            message = aio_pika.Message(
                one.body,
                content_type="application/json",
                delivery_mode=2,
                **{
                    "message_id": one.message_id,
                    "correlation_id": one.correlation_id,
                    "reply_to": one.reply_to,
                    **(properties or {}),
                },
            )
            try:
                confirm = await self._publisher.publish(message, LANES[one.lane], mandatory=True)
            except (*_BROKEN, asyncio.CancelledError):
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
            else:
                if type(confirm).__name__ == "Ack":
                    break
            await asyncio.sleep(0.1)
        confirmed = replace(one, at=time.time())
        self.sent.append(confirmed)
        return confirmed

    async def publish_all(self, some: Sequence[Submission], seconds: float = 0.0) -> None:
        """Publish many, spread over a time."""
        async with asyncio.TaskGroup() as group:
            for one in some:
                group.create_task(self.publish(one))
                await asyncio.sleep(seconds / len(some))

    async def run(self) -> None:
        """Publish and listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._again(self._publish_epoch))
            group.create_task(self._again(self._listen_epoch))

    async def _again(self, epoch: Any) -> None:
        while True:
            try:
                await epoch()
            except (*_BROKEN, asyncio.CancelledError):
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
            await asyncio.sleep(0.1)

    async def _publish_epoch(self) -> None:
        async with await _connect(self._web) as connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            self._publisher = await channel.get_exchange("resolution", ensure=False)
            self._ready.set()
            try:
                await channel.closed()
            finally:
                self._ready.clear()

    async def _listen_epoch(self) -> None:
        async with await _connect(self._owner) as connection:
            channel = await connection.channel()
            await channel.set_qos(200)
            for name, what in self._queues().items():
                queue = await channel.get_queue(name, ensure=False)
                await queue.consume(self._receive(what))
            await channel.closed()

    def _queues(self) -> dict[str, str]:
        return {_EVENTS: EVENT} | {requester.key: REPLY for requester in self._requesters.values()}

    def _receive(self, what: str) -> Any:
        async def receive(message: Any) -> None:
            body = contract.outcome(message.body)
            now = time.time()
            key = message.routing_key or ""
            self.received.append(Received(what, key, message.correlation_id, body, now))
            if what == EVENT:
                self._finals.setdefault(body["message_id"], now)
            with suppress(*_BROKEN):
                await message.ack()

        return receive

    async def depths(self, *queues: str) -> dict[str, int]:
        """How many messages are ready in each of these queues and in its own."""
        names = (*queues, *self._queues())
        async with await aio_pika.connect(self._owner, timeout=10) as connection:
            channel = await connection.channel()
            return {
                name: int(found.declaration_result.message_count or 0)
                for name in names
                for found in [await channel.declare_queue(name, passive=True)]
            }


@asynccontextmanager
async def running_client(
    web: str, owner: str, requesters: Mapping[str, Requester]
) -> AsyncIterator[Client]:
    """A client that runs until the block ends."""
    client = Client(web, owner, requesters)
    await client.declare()
    running = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class _Connection(aio_pika.Connection):
    def __del__(self) -> None:
        """Do nothing: the library would start a task, in whatever thread the collector runs."""


async def _connect(url: str) -> Any:
    return await aio_pika.connect(url, timeout=5, connection_class=_Connection)
