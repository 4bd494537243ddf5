"""CPU a token and tokens a second of one worker, beside a plain one in the same run.

`make bench`, or `python benchmarks/cost.py --tokens 4000 --rounds 3`. Each round gives both workers
the same number of tokens, waiting in the queue before they start; the endpoint answers at once.
CPU is the worker process's own (user and system), from its first to its last settled token but one
in twenty at either end. Other work on the machine moves tokens a second far more than CPU a token,
so look at the ratios, which compare within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aio_pika
import asyncpg
import orjson
import psutil

from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.topology import topology
from worker.adapters.sealing import generate
from worker.core.token.outgoing import Outgoing
from worker.lab.servers import services

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent
_CONCURRENCY = 64
_EDGE = 0.05
_PATIENCE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A worker to measure: its command, its queue, and how many tokens it has settled."""

    name: str
    command: list[str]
    exchange: str
    key: str
    count: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What one round has shown."""

    cpu_microseconds: float
    tokens_per_second: float


OURS = Contender(
    "resolution-worker",
    [sys.executable, "-m", "worker", "run"],
    "resolution",
    "token",
    "SELECT count(*) FROM resolution.outcomes",
)
PLAIN = Contender(
    "plain (asyncio)",
    [sys.executable, str(_HERE / "plain.py"), "plain", str(_CONCURRENCY)],
    "plain",
    "token",
    "SELECT count(*) FROM plain_customer",
)
PLAIN_UVLOOP = Contender(
    "plain (uvloop)", [*PLAIN.command, "--uvloop"], PLAIN.exchange, PLAIN.key, PLAIN.count
)


async def main() -> None:
    """Run all rounds and print what they cost."""
    options = _options()
    async with services() as running:
        environment = os.environ | {
            "WORKER_POSTGRES__DSN": running.postgres.dsn,
            "WORKER_AMQP__URL": running.rabbitmq.amqp_url,
            "WORKER_DEAD_LETTERS__SEAL_KEY": generate()[0],
            "WORKER_HTTP__PORT": "0",
            "WORKER_LOG__LEVEL": "warning",
            "WORKER_RATE__INITIAL": "10000",
            "WORKER_POOL__CONCURRENCY": str(_CONCURRENCY),
            "AWS_ACCESS_KEY_ID": "simulator",
            "AWS_SECRET_ACCESS_KEY": "simulator",
        }
        os.environ.update(environment)
        with _simulator() as url:
            os.environ["WORKER_AWS__ENDPOINT_URL"] = url
            _migrate()
            await _prepare(running.postgres.dsn, running.rabbitmq.amqp_url)
            await _rounds(options.tokens, options.rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=4000, help="a round and worker")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


@contextmanager
def _simulator() -> Iterator[str]:
    command = [sys.executable, "-m", "worker.lab.simulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def _migrate() -> None:
    subprocess.run(
        [sys.executable, "-m", "worker", "migrate", "--stand-in"], check=True, capture_output=True
    )


async def _prepare(dsn: str, amqp_url: str) -> None:
    await declare(amqp_url, topology({"5s": 5.0, "30s": 30.0, "2m": 120.0}))
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("plain", durable=True)
        queue = await channel.declare_queue(
            "plain", durable=True, arguments={"x-queue-type": "quorum"}
        )
        await queue.bind(exchange, "token")
    database = await asyncpg.connect(dsn)
    await database.execute(
        "CREATE TABLE plain_customer (token text PRIMARY KEY, account text, product text, "
        "license text, resolved_at timestamptz)"
    )
    await database.close()


async def _rounds(tokens: int, rounds: int) -> None:
    contenders = (OURS, PLAIN, PLAIN_UVLOOP)
    costs: dict[str, list[Cost]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        # Whoever goes first has the colder caches: take turns.
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            costs[contender.name].append(await _measure(contender, tokens))
    _show(costs)


async def _measure(contender: Contender, tokens: int) -> Cost:
    await _publish(contender, tokens)
    database = await asyncpg.connect(os.environ["WORKER_POSTGRES__DSN"])
    before = await database.fetchval(contender.count)
    process = psutil.Popen(contender.command)
    try:
        first = before + int(tokens * _EDGE)
        last = before + int(tokens * (1 - _EDGE))
        start = await _reached(database, contender, first, process)
        end = await _reached(database, contender, last, process)
        await _reached(database, contender, before + tokens, process)
    finally:
        process.terminate()
        process.wait(30)
        await database.close()
    settled = end[0] - start[0]
    return Cost((end[1] - start[1]) / settled * 1e6, settled / (end[2] - start[2]))


async def _reached(
    database: asyncpg.Connection[asyncpg.Record],
    contender: Contender,
    goal: int,
    process: psutil.Process,
) -> tuple[int, float, float]:
    """Tokens settled, CPU seconds of the worker, and the time, once the goal is reached."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            settled = await database.fetchval(contender.count)
            times = process.cpu_times()
            if settled >= goal:
                return settled, times.user + times.system, time.monotonic()
            await asyncio.sleep(0.02)


async def _publish(contender: Contender, tokens: int) -> None:
    connection = await aio_pika.connect(os.environ["WORKER_AMQP__URL"])
    async with connection:
        publisher = await Publisher.open(connection)
        run = uuid.uuid4().hex
        batch = [_message(contender, run, number) for number in range(tokens)]
        failed = [fault for fault in await publisher.publish_all(batch, 60) if fault]
        assert not failed, failed[0]


def _message(contender: Contender, run: str, number: int) -> Outgoing:
    # As long as a real token.
    token = f"ok-{run}-{number}-".ljust(300, "x")
    body = orjson.dumps({"version": 1, "registration_token": token})
    message_id = uuid.uuid4().hex
    return Outgoing(contender.exchange, contender.key, body, message_id, mandatory=True)


def _show(costs: dict[str, list[Cost]]) -> None:
    ours = costs[OURS.name]
    print(f"{'worker':20}{'CPU us/token':>14}{'tokens/s':>10}{'CPU ratio to ours':>20}")
    for name, rounds in costs.items():
        cpu = statistics.median(cost.cpu_microseconds for cost in rounds)
        rate = statistics.median(cost.tokens_per_second for cost in rounds)
        ratio = statistics.median(
            theirs.cpu_microseconds / mine.cpu_microseconds
            for theirs, mine in zip(rounds, ours, strict=True)
        )
        print(f"{name:20}{cpu:14.0f}{rate:10.0f}{ratio:20.2f}")


if __name__ == "__main__":
    asyncio.run(main())
