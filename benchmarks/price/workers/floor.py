"""The floor: the same job done as cheaply as these libraries allow, and not a promise kept.

Look-ups in batches, signed calls over aiohttp, upserts in batches, a confirmed event for each
token, and the ack after it. A lost connection ends it, every answer is taken for a success, nothing
is paced, bounded, retried, counted or logged.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import aio_pika
import aiohttp
import asyncpg
import orjson
import uvloop

from worker.adapters.aws.signing import Identity, Scope, Signer
from worker.adapters.rabbitmq.acking import acks
from worker.adapters.rabbitmq.library import write
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core.token.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_IDENTITY = Identity("simulator", "simulator", None)
_FIND = "SELECT token FROM floor_customer WHERE token = ANY($1::text[])"
_UPSERT = """
INSERT INTO floor_customer (token, account, product, license, resolved_at)
SELECT token, account, product, license, now()
FROM json_to_recordset($1::json) AS given (token text, account text, product text, license text)
ORDER BY token
ON CONFLICT (token) DO UPDATE SET account = excluded.account, product = excluded.product,
    license = excluded.license, resolved_at = excluded.resolved_at
"""


class Batches:
    """Gathers what comes while one batch is under way."""

    def __init__(self, act: Callable[[list[Any]], Awaitable[None]]) -> None:
        self._act = act
        self._items: list[Any] = []
        self._some = asyncio.Event()

    def put(self, item: Any) -> None:
        """Let this be in the next batch."""
        self._items.append(item)
        self._some.set()

    async def run(self) -> None:
        """Act until killed."""
        while True:
            await self._some.wait()
            self._some.clear()
            items, self._items = self._items, []
            await self._act(items)


class Floor:
    """The way of a token, each stage in batches but the call."""

    def __init__(
        self,
        *,
        reading: asyncpg.Connection[asyncpg.Record],
        writing: asyncpg.Connection[asyncpg.Record],
        session: aiohttp.ClientSession,
        publisher: Publisher,
        channel: Any,
        concurrency: int,
    ) -> None:
        self._reading, self._writing = reading, writing
        self._session, self._publisher, self._channel = session, publisher, channel
        self._slots = asyncio.Semaphore(concurrency)
        self._calls: set[asyncio.Task[None]] = set()
        self._url = os.environ["WORKER_AWS__ENDPOINT_URL"]
        headers = {
            "Host": self._url.removeprefix("http://").rstrip("/"),
            "X-Amz-Target": "AWSMPMeteringService.ResolveCustomer",
            "Content-Type": "application/x-amz-json-1.1",
        }
        self._signer = Signer(headers, Scope("us-east-1", "aws-marketplace"))
        self.look_ups = Batches(self._look_up)
        self.writes = Batches(self._upsert)
        self.events = Batches(self._publish)

    async def receive(self, message: Any) -> None:
        """Take a delivery."""
        token = orjson.loads(message.body)["registration_token"]
        self.look_ups.put((token, message.delivery.delivery_tag))

    async def _look_up(self, items: list[Any]) -> None:
        await self._reading.fetch(_FIND, [token for token, _ in items])
        for item in items:
            await self._slots.acquire()
            task = asyncio.create_task(self._call(*item))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _call(self, token: str, tag: int) -> None:
        body = orjson.dumps({"RegistrationToken": token})
        signed = self._signer.sign(body, _IDENTITY, time.time())
        async with self._session.post(self._url, data=body, headers=signed) as response:
            answer = orjson.loads(await response.read())
        self._slots.release()
        self.writes.put((token, tag, answer))

    async def _upsert(self, items: list[Any]) -> None:
        rows = [
            {
                "token": token,
                "account": answer.get("CustomerAWSAccountId"),
                "product": answer["ProductCode"],
                "license": answer.get("LicenseArn"),
            }
            for token, _, answer in items
        ]
        await self._writing.execute(_UPSERT, orjson.dumps(rows).decode())
        for item in items:
            self.events.put(item)

    async def _publish(self, items: list[Any]) -> None:
        await self._publisher.publish_all(
            [
                Outgoing("floor.events", "resolved", orjson.dumps(answer), str(tag))
                for _, tag, answer in items
            ],
            60,
        )
        tags = [tag for _, tag, _ in items]
        await write(self._channel, acks(tags, 0, self._channel.number))


async def main(queue: str, concurrency: int) -> None:
    """Consume until killed."""
    dsn, amqp_url = os.environ["WORKER_POSTGRES__DSN"], os.environ["WORKER_AMQP__URL"]
    reading, writing = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    consuming, publishing = await aio_pika.connect(amqp_url), await aio_pika.connect(amqp_url)
    channel = await (await consuming.channel()).get_underlay_channel()
    publisher = await Publisher.open(publishing)
    connector = aiohttp.TCPConnector(limit=concurrency)
    gc.collect()
    gc.freeze()  # as this worker does, and as often
    gc.set_threshold(20_000, 10, 10)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        floor = Floor(
            reading=reading,
            writing=writing,
            session=session,
            publisher=publisher,
            channel=channel,
            concurrency=concurrency,
        )
        for batches in (floor.look_ups, floor.writes, floor.events):
            group.create_task(batches.run())
        await channel.basic_qos(prefetch_count=4 * concurrency)
        await channel.basic_consume(queue, floor.receive)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
