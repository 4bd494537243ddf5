"""The worker of an afternoon: aio-pika, aiobotocore and asyncpg with their defaults.

Only the connections to AWS are as many as its calls at once: ten, the default, would hold it back.
One task a message, one upsert, one reply if it is asked for, and one ack a token. It keeps none of
the product's promises (no pacing, no classification, no event, no dead letter); it is here to be
measured beside.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import aio_pika
import asyncpg
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

_UPSERT = """
INSERT INTO plain_customer (token, account, product, license, resolved_at)
VALUES ($1, $2, $3, $4, now())
ON CONFLICT (token) DO UPDATE SET account = excluded.account, product = excluded.product,
    license = excluded.license, resolved_at = excluded.resolved_at
"""


async def main(queue_name: str, concurrency: int) -> None:
    """Consume until killed."""
    pool = await asyncpg.create_pool(os.environ["WORKER_POSTGRES__DSN"])
    connection = await aio_pika.connect_robust(os.environ["WORKER_AMQP__URL"])
    session = get_session()
    async with session.create_client(
        "meteringmarketplace",
        region_name="us-east-1",
        endpoint_url=os.environ["WORKER_AWS__ENDPOINT_URL"],
        config=AioConfig(max_pool_connections=concurrency),
    ) as client:
        channel = await connection.channel()

        async def handle(message: AbstractIncomingMessage) -> None:
            async with message.process():
                token = json.loads(message.body)["registration_token"]
                answer = await client.resolve_customer(RegistrationToken=token)
                account, product = answer.get("CustomerAWSAccountId"), answer["ProductCode"]
                await pool.execute(_UPSERT, token, account, product, answer.get("LicenseArn"))
                if message.reply_to:
                    said = {"status": "resolved", "account": account, "product": product}
                    reply = aio_pika.Message(
                        json.dumps(said).encode(), correlation_id=message.correlation_id
                    )
                    await channel.default_exchange.publish(reply, message.reply_to)

        await channel.set_qos(prefetch_count=concurrency)
        queue = await channel.get_queue(queue_name)
        await queue.consume(handle)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(main(sys.argv[1], int(sys.argv[2])))
    else:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
