"""The same small job as `plain.py`, as a FastStream subscriber.

FastStream acks when the handler has returned, and sends what it returned to `reply_to`, if the
message names one. Its lines of log for each message are switched off, as nobody else writes any.
"""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import asyncpg
import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from faststream import Context, ContextRepo, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitExchange, RabbitQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CONCURRENCY = int(sys.argv[1])
_UPSERT = """
INSERT INTO faststream_customer (token, account, product, license, resolved_at)
VALUES ($1, $2, $3, $4, now())
ON CONFLICT (token) DO UPDATE SET account = excluded.account, product = excluded.product,
    license = excluded.license, resolved_at = excluded.resolved_at
"""


@asynccontextmanager
async def lifespan(context: ContextRepo) -> AsyncIterator[None]:
    """What lives as long as the worker."""
    making = get_session().create_client(
        "meteringmarketplace",
        region_name="us-east-1",
        endpoint_url=os.environ["WORKER_AWS__ENDPOINT_URL"],
        config=AioConfig(max_pool_connections=_CONCURRENCY),
    )
    async with asyncpg.create_pool(os.environ["WORKER_POSTGRES__DSN"]) as pool, making as client:
        context.set_global("client", client)
        context.set_global("pool", pool)
        yield


broker = RabbitBroker(os.environ["WORKER_AMQP__URL"], logger=None)


@broker.subscriber(
    RabbitQueue("faststream", durable=True, queue_type=QueueType.QUORUM, routing_key="token"),
    RabbitExchange("faststream", durable=True),
    channel=Channel(prefetch_count=_CONCURRENCY),
)
async def resolve(
    asked: dict[str, Any], client: Annotated[Any, Context()], pool: Annotated[Any, Context()]
) -> dict[str, str | None]:
    """Resolve one token."""
    token = asked["registration_token"]
    answer = await client.resolve_customer(RegistrationToken=token)
    account, product = answer.get("CustomerAWSAccountId"), answer["ProductCode"]
    await pool.execute(_UPSERT, token, account, product, answer.get("LicenseArn"))
    return {"status": "resolved", "account": account, "product": product}


if __name__ == "__main__":
    uvloop.run(FastStream(broker, logger=None, lifespan=lifespan).run())
