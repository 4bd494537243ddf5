"""The floor: the same job done as cheaply as these libraries allow, and not a promise kept.

Look-ups in batches, signed calls over aiohttp, upserts in batches, a confirmed event for each
token, and the ack after it. A lost connection ends it, every answer is taken for a success, nothing
is paced, bounded, retried, counted or logged.
"""

from __future__ import annotations

import asyncio
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


async def main(queue: str, concurrency: int) -> None:
    """Consume until killed."""
    reading = await asyncpg.connect(os.environ["WORKER_POSTGRES__DSN"])
    writing = await asyncpg.connect(os.environ["WORKER_POSTGRES__DSN"])
    url = os.environ["WORKER_AWS__ENDPOINT_URL"]
    headers = {
        "Host": url.removeprefix("http://").rstrip("/"),
        "X-Amz-Target": "AWSMPMeteringService.ResolveCustomer",
        "Content-Type": "application/x-amz-json-1.1",
    }
    signer = Signer(headers, Scope("us-east-1", "aws-marketplace"))
    identity = Identity("simulator", "simulator", None)
    consuming = await aio_pika.connect(os.environ["WORKER_AMQP__URL"])
    publishing = await aio_pika.connect(os.environ["WORKER_AMQP__URL"])
    publisher = await Publisher.open(publishing)
    channel = await (await consuming.channel()).get_underlay_channel()
    slots = asyncio.Semaphore(concurrency)
    calls: set[asyncio.Task[None]] = set()

    async def look_up(items: list[Any]) -> None:
        await reading.fetch(_FIND, [token for token, _ in items])
        for item in items:
            await slots.acquire()
            task = asyncio.create_task(call(*item))
            calls.add(task)
            task.add_done_callback(calls.discard)

    async def call(token: str, tag: int) -> None:
        body = orjson.dumps({"RegistrationToken": token})
        signed = signer.sign(body, identity, time.time())
        async with session.post(url, data=body, headers=signed) as response:
            answer = orjson.loads(await response.read())
        slots.release()
        writes.put((token, tag, answer))

    async def upsert(items: list[Any]) -> None:
        rows = [
            {
                "token": token,
                "account": answer.get("CustomerAWSAccountId"),
                "product": answer["ProductCode"],
                "license": answer.get("LicenseArn"),
            }
            for token, _, answer in items
        ]
        await writing.execute(_UPSERT, orjson.dumps(rows).decode())
        for item in items:
            events.put(item)

    async def publish(items: list[Any]) -> None:
        await publisher.publish_all(
            [
                Outgoing("floor.events", "resolved", orjson.dumps(answer), str(tag))
                for _, tag, answer in items
            ],
            60,
        )
        await write(channel, acks([tag for _, tag, _ in items], 0, channel.number))

    async def receive(message: Any) -> None:
        token = orjson.loads(message.body)["registration_token"]
        look_ups.put((token, message.delivery.delivery_tag))

    look_ups, writes, events = Batches(look_up), Batches(upsert), Batches(publish)
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for batches in (look_ups, writes, events):
            group.create_task(batches.run())
        await channel.basic_qos(prefetch_count=4 * concurrency)
        await channel.basic_consume(queue, receive)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
