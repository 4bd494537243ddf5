"""The same load on the worker of an afternoon, which knows nothing but to back off.

`benchmarks/price/workers/plain.py`, whose SDK is told to try ten times instead of five: it waits a
random part of 1, 2, 4 … seconds after each throttled call (exponential backoff with full jitter).
With fewer attempts it would throw tokens away and look better for it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aio_pika

from benchmarks.quota.figures import Figure
from benchmarks.quota.scenario import scenario
from benchmarks.quota.steady import DROPPED, LOW, LOW_SECONDS, SEARCH_SECONDS, STANDING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.quota.scenario import Bench, Scenario

_PROGRAM: Final = Path(__file__).parents[1] / "price" / "workers" / "plain.py"
_CONCURRENCY: Final = 64  # ours
_REPLICAS: Final = 4
_MEASURED_SECONDS: Final = 60
_BACKOFF: Final = {"AWS_RETRY_MODE": "legacy", "AWS_MAX_ATTEMPTS": "10"}
_TABLE: Final = """
CREATE TABLE plain_customer (token text PRIMARY KEY, account text, product text, license text,
    resolved_at timestamptz)
"""


async def plainly(bench: Bench) -> tuple[list[Figure], list[str]]:
    """Plain workers with full-jitter backoff: quota 40/s, then 10/s, 4 replicas."""
    async with scenario(bench, 40, 40, backlog=0) as on:
        await _prepare(on)
        with _plain_workers(on) as workers:
            await on.span(SEARCH_SECONDS)
            span = await on.span(_MEASURED_SECONDS)
            dropped = await on.quota(10)
            low = range(dropped, (await on.span(LOW_SECONDS)).stop)
            ended = [one for one in workers if one.poll() is not None]
            left = await on.supply.waiting("plain")
        timeline = await on.timeline()
        print(timeline.lines(range(span.start, low.stop)))
    return [
        Figure(
            "successes of the quota of 40/s, 4 replicas", timeline.used(span, 40), "%", plain=True
        ),
        Figure(STANDING, timeline.throttled_share(span), "%", plain=True),
        Figure(DROPPED, timeline.throttled_share(low[:10]), "%", plain=True),
        Figure(LOW, timeline.throttled_share(low[20:]), "%", plain=True),
    ], [f"a plain worker ended with {one.returncode}" for one in ended] + (
        [] if left else ["the plain workers' backlog ran dry"]
    )


async def _prepare(on: Scenario) -> None:
    async with await aio_pika.connect(on.stage.broker.url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("plain", durable=True)
        queue = await channel.declare_queue(
            "plain", durable=True, arguments={"x-queue-type": "quorum"}
        )
        await queue.bind(exchange, "token")
    await on.stage.schema.execute(_TABLE)
    await on.supply.fill(10_000, "plain", "token")


@contextmanager
def _plain_workers(on: Scenario) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Plain workers until the block ends."""
    environment = on.stage.environment(
        WORKER_AMQP__URL=on.stage.broker.url,
        WORKER_POSTGRES__DSN=on.stage.schema.superuser,
        **_BACKOFF,
    )
    setpriv = shutil.which("setpriv")
    dying = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    command = [*dying, sys.executable, str(_PROGRAM), "plain", str(_CONCURRENCY)]
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(_REPLICAS):
            workers.append(  # noqa: PERF401 - what was started is ended, should the next one fail
                subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            )
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait(30)
