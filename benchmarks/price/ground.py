"""What all are measured on: private servers, a simulator, and processes that end with the run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

import aio_pika
import asyncpg
import psutil

from benchmarks.price.contenders import ALL, OURS
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import topology
from worker.adapters.sealing import generate
from worker.lab.servers import services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pamqp.common import FieldTable as Arguments

    from benchmarks.price.contenders import Contender

DELAYS: Final = {"5s": 5.0, "30s": 30.0, "2m": 120.0}
_GOODBYE_SECONDS = 30


@asynccontextmanager
async def servers() -> AsyncIterator[None]:
    """Servers of one's own, prepared for all contenders, named in this process's environment."""
    async with services() as running:
        os.environ |= {
            "WORKER_POSTGRES__DSN": running.postgres.dsn,
            "WORKER_AMQP__URL": running.rabbitmq.amqp_url,
            "WORKER_DEAD_LETTERS__SEAL_KEY": generate()[0],
            "WORKER_HTTP__PORT": "0",
            "WORKER_LOG__LEVEL": "warning",
            "WORKER_RATE__INITIAL": "100000",
            "AWS_ACCESS_KEY_ID": "simulator",
            "AWS_SECRET_ACCESS_KEY": "simulator",
        }
        await asyncio.to_thread(_migrate)
        await _prepare()
        yield


def _migrate() -> None:
    command = [sys.executable, "-m", "worker", "migrate", "--stand-in"]
    subprocess.run(command, check=True, capture_output=True)


async def _prepare() -> None:
    amqp_url = os.environ["WORKER_AMQP__URL"]
    await declare(amqp_url, topology(DELAYS))
    database = await asyncpg.connect(os.environ["WORKER_POSTGRES__DSN"])
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await _observe(channel, "resolution.events", "token.*")
        for name in {each.exchange for each in ALL if each is not OURS}:
            await _prepare_other(channel, database, name)
    await database.close()


async def _prepare_other(
    channel: aio_pika.abc.AbstractChannel,
    database: asyncpg.Connection[asyncpg.Record],
    name: str,
) -> None:
    exchange = await channel.declare_exchange(name, durable=True)
    arguments: Arguments = {"x-queue-type": "quorum"}
    queue = await channel.declare_queue(name, durable=True, arguments=arguments)
    await queue.bind(exchange, "token")
    await channel.declare_exchange(f"{name}.events", durable=True)
    await _observe(channel, f"{name}.events", "resolved")
    await database.execute(
        f"CREATE TABLE {name}_customer (token text PRIMARY KEY, account text, product text, "
        "license text, resolved_at timestamptz)"
    )


async def _observe(channel: aio_pika.abc.AbstractChannel, events: str, key: str) -> None:
    """A queue takes the events, as it would in production."""
    arguments: Arguments = {"x-max-length": 1000, "x-overflow": "drop-head"}
    queue = await channel.declare_queue(f"observer.{events}", arguments=arguments)
    await queue.bind(events, key)


@contextmanager
def simulator(*options: str) -> Iterator[None]:
    """An endpoint for the block, named in this process's environment."""
    command = [sys.executable, "-m", "worker.lab.simulator", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            os.environ["WORKER_AWS__ENDPOINT_URL"] = process.stdout.readline().split()[-1]
            yield
        finally:
            process.terminate()


@contextmanager
def running(contender: Contender, concurrency: int) -> Iterator[psutil.Process]:
    """A contender at work for the block; what it prints goes to standard error."""
    environment = os.environ | {"WORKER_POOL__CONCURRENCY": str(concurrency)}
    command = contender.started_by(concurrency)
    process = psutil.Popen(command, env=environment, stdout=sys.stderr)
    try:
        yield process
    finally:
        every = tree(process)
        process.terminate()
        process.wait(_GOODBYE_SECONDS)
        for child in every[1:]:  # one that outlives its parent would be measured with the others
            with suppress(psutil.NoSuchProcess):
                child.kill()


def tree(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that it has started: some frameworks work in a child."""
    return [process, *process.children(recursive=True)]
