"""The same small job as `plain.py`, as a taskiq task.

Started by `taskiq worker`, which runs it in a child process, on uvloop where that is installed, and
acks once the task's result is saved (here nowhere).
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Annotated

import asyncpg
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from taskiq import Context, TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq_aio_pika import AioPikaBroker, Exchange, Queue, QueueType

_CONCURRENCY = int(os.environ["WORKER_POOL__CONCURRENCY"])
_UPSERT = """
INSERT INTO taskiq_customer (token, account, product, license, resolved_at)
VALUES ($1, $2, $3, $4, now())
ON CONFLICT (token) DO UPDATE SET account = excluded.account, product = excluded.product,
    license = excluded.license, resolved_at = excluded.resolved_at
"""

broker = AioPikaBroker(
    os.environ["WORKER_AMQP__URL"],
    qos=_CONCURRENCY,
    # Both exist, and the queue without the dead letters that taskiq would declare it with.
    exchange=Exchange("taskiq", declare=False),
    task_queues=[Queue(name="taskiq", type=QueueType.QUORUM, declare=False)],
)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def startup(state: TaskiqState) -> None:
    """Make what lives as long as the worker."""
    state.open = AsyncExitStack()
    making = get_session().create_client(
        "meteringmarketplace",
        region_name="us-east-1",
        endpoint_url=os.environ["WORKER_AWS__ENDPOINT_URL"],
        config=AioConfig(max_pool_connections=_CONCURRENCY),
    )
    state.client = await state.open.enter_async_context(making)
    pool = asyncpg.create_pool(os.environ["WORKER_POSTGRES__DSN"])
    state.pool = await state.open.enter_async_context(pool)


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def shutdown(state: TaskiqState) -> None:
    """Close it."""
    await state.open.aclose()


@broker.task("resolve")
async def resolve(registration_token: str, context: Annotated[Context, TaskiqDepends()]) -> None:
    """Resolve one token."""
    client, pool = context.state.client, context.state.pool
    answer = await client.resolve_customer(RegistrationToken=registration_token)
    account, product = answer.get("CustomerAWSAccountId"), answer["ProductCode"]
    await pool.execute(_UPSERT, registration_token, account, product, answer.get("LicenseArn"))
