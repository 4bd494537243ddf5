"""The same small job as a FastStream subscriber, on aiobotocore and asyncpg with their defaults.

FastStream acks when the handler has returned, and sends what it returns to `reply_to`, if the
message names one. Its lines of log for each message are switched off, as nobody else writes any.
"""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import asyncpg
import uvloop
from aiobotocore.session import get_session
from faststream import Context, ContextRepo, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitExchange, RabbitQueue
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_UPSERT = """
INSERT INTO faststream_customer (token, account, product, license, resolved_at)
VALUES ($1, $2, $3, $4, now())
ON CONFLICT (token) DO UPDATE SET account = excluded.account, product = excluded.product,
    license = excluded.license, resolved_at = excluded.resolved_at
"""


class Submission(BaseModel):
    """What is asked."""

    registration_token: str


@asynccontextmanager
async def lifespan(context: ContextRepo) -> AsyncIterator[None]:
    """What lives as long as the worker."""
    url = os.environ["WORKER_AWS__ENDPOINT_URL"]
    making = get_session().create_client("meteringmarketplace", "us-east-1", endpoint_url=url)
    async with asyncpg.create_pool(os.environ["WORKER_POSTGRES__DSN"]) as pool, making as client:
        context.set_global("client", client)
        context.set_global("pool", pool)
        yield


broker = RabbitBroker(os.environ["WORKER_AMQP__URL"], logger=None)


@broker.subscriber(
    RabbitQueue("faststream", durable=True, queue_type=QueueType.QUORUM, routing_key="token"),
    RabbitExchange("faststream", durable=True),
    channel=Channel(prefetch_count=int(sys.argv[1])),
)
async def resolve(
    asked: Submission, client: Annotated[Any, Context()], pool: Annotated[Any, Context()]
) -> dict[str, str | None]:
    """Resolve one token."""
    token = asked.registration_token
    answer = await client.resolve_customer(RegistrationToken=token)
    account, product = answer.get("CustomerAWSAccountId"), answer["ProductCode"]
    await pool.execute(_UPSERT, token, account, product, answer.get("LicenseArn"))
    return {"status": "resolved", "account": account, "product": product}


if __name__ == "__main__":
    uvloop.run(FastStream(broker, logger=None, lifespan=lifespan).run())
