"""Resident memory of one worker while 200,000 tokens wait for it.

`make bench-memory`, or `python benchmarks/memory.py --tokens 200000`. All tokens are published
before the worker starts; each is as long as a real one, and each call takes 10 ms. The process's
resident memory is sampled until the last token is settled. Ends with 1 if it was ever above the
most that is allowed, or grew from the first to the last tenth of the tokens.
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
from typing import TYPE_CHECKING, NamedTuple

import aio_pika
import asyncpg
import orjson
import psutil

from worker.adapters.postgres.migrate import migrate
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.topology import topology
from worker.adapters.sealing import generate
from worker.core.token.outgoing import Outgoing
from worker.lab.servers import services

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEGABYTE = 1_000_000
_BATCH = 1000
_SAMPLE_SECONDS = 0.25
_STANDSTILL_SECONDS = 60.0
_SETTLED = "SELECT count(*) FROM resolution.outcomes"


class Sample(NamedTuple):
    """How many tokens were settled, and the worker's resident memory in megabytes."""

    settled: int
    megabytes: float


async def main() -> int:
    """Publish, let one worker work, and print what its memory did."""
    options = _options()
    async with services() as running:
        os.environ |= {
            "WORKER_POSTGRES__DSN": running.postgres.dsn,
            "WORKER_AMQP__URL": running.rabbitmq.amqp_url,
            "WORKER_DEAD_LETTERS__SEAL_KEY": generate()[0],
            "WORKER_HTTP__PORT": "0",
            "WORKER_LOG__LEVEL": "warning",
            "WORKER_RATE__INITIAL": "10000",
            "AWS_ACCESS_KEY_ID": "simulator",
            "AWS_SECRET_ACCESS_KEY": "simulator",
        }
        with _simulator(options.latency) as os.environ["WORKER_AWS__ENDPOINT_URL"]:
            await migrate(lambda: running.postgres.dsn, stand_in=True)
            await declare(
                running.rabbitmq.amqp_url, topology({"5s": 5.0, "30s": 30.0, "2m": 120.0})
            )
            await _publish(running.rabbitmq.amqp_url, options.tokens)
            samples = await _measure(running.postgres.dsn, options.tokens)
    return _judge(samples, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--latency", default="10ms", help="of each call")
    parser.add_argument("--most", type=float, default=150.0, help="megabytes that are allowed")
    parser.add_argument(
        "--growth", type=float, default=2.0, help="megabytes that count as measuring noise"
    )
    return parser.parse_args()


@contextmanager
def _simulator(latency: str) -> Iterator[str]:
    command = [sys.executable, "-m", "worker.lab.simulator", "--port", "0", "--latency", latency]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


async def _publish(url: str, tokens: int) -> None:
    began = time.monotonic()
    async with await aio_pika.connect(url) as connection:
        publisher = await Publisher.open(connection)
        for start in range(0, tokens, _BATCH):
            batch = [_message(number) for number in range(start, min(start + _BATCH, tokens))]
            failed = [fault for fault in await publisher.publish_all(batch, 60) if fault]
            assert not failed, failed[0]
    print(f"{tokens} tokens wait, published in {time.monotonic() - began:.0f} s", flush=True)


def _message(number: int) -> Outgoing:
    token = f"ok-{number}-{uuid.uuid4().hex}-".ljust(300, "x")
    body = orjson.dumps({"version": 1, "registration_token": token})
    return Outgoing("resolution", "token", body, uuid.uuid4().hex, mandatory=True)


async def _measure(dsn: str, tokens: int) -> list[Sample]:
    """Samples from the first token settled to the last."""
    began = time.monotonic()
    database = await asyncpg.connect(dsn)
    process = psutil.Popen([sys.executable, "-m", "worker", "run"])
    try:
        samples = await _samples(database, process, tokens)
    finally:
        process.terminate()
        process.wait(60)
        await database.close()
    seconds = time.monotonic() - began
    print(f"all are settled after {seconds:.0f} s, {tokens / seconds:.0f} a second", flush=True)
    return samples


async def _samples(
    database: asyncpg.Connection[asyncpg.Record], process: psutil.Popen, tokens: int
) -> list[Sample]:
    samples = [Sample(0, 0.0)]
    moved = time.monotonic()
    while samples[-1].settled < tokens:
        settled = int(await database.fetchval(_SETTLED))
        if settled > samples[-1].settled:
            moved = time.monotonic()
        assert time.monotonic() - moved < _STANDSTILL_SECONDS, f"no progress after {settled}"
        samples.append(Sample(settled, process.memory_info().rss / _MEGABYTE))
        await asyncio.sleep(_SAMPLE_SECONDS)
    return [sample for sample in samples if sample.settled]


def _judge(samples: list[Sample], options: argparse.Namespace) -> int:
    most = max(sample.megabytes for sample in samples)
    tenth = options.tokens / 10
    first = statistics.median(sample.megabytes for sample in samples if sample.settled <= tenth)
    last = statistics.median(
        sample.megabytes for sample in samples if sample.settled > options.tokens - tenth
    )
    print(f"resident memory: at most {most:.1f} MB (allowed {options.most:g})")
    print(f"first tenth {first:.1f} MB, last tenth {last:.1f} MB: {last - first:+.1f} MB")
    return int(most > options.most or last - first > options.growth)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
