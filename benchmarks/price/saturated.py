"""CPU a token, tokens a second and peak memory, of workers that have all they can do.

Each gets the same number of tokens, which wait in its queue before it starts; the endpoint answers
at once. CPU is that of the worker and its children (user and system), from its first to its last
settled token but one in twenty at either end; memory is what is resident of each of them, added up.
Other work on the machine moves tokens a second far more than CPU a token, so look at the ratios,
which compare within a round.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aio_pika
import asyncpg

from benchmarks.price.ground import running, simulator, tree
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core.token.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psutil

    from benchmarks.price.contenders import Contender

_CONCURRENCY: Final = 64
_EDGE: Final = 0.05
_PATIENCE_SECONDS: Final = 180.0
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """What one round has shown of one worker."""

    cpu_microseconds: float
    tokens_per_second: float
    peak_mib: float


async def costs(contenders: Sequence[Contender], tokens: int, rounds: int) -> dict[str, list[Cost]]:
    """What a token costs each contender, round by round."""
    found: dict[str, list[Cost]] = {each.name: [] for each in contenders}
    with simulator():
        for number in range(rounds):
            # Whoever goes first has the colder caches: take turns.
            for each in contenders if number % 2 == 0 else reversed(contenders):
                found[each.name].append(await cost(each, tokens))
    return found


async def cost(contender: Contender, tokens: int) -> Cost:
    """One round of one contender; the simulator must run."""
    await publish(contender, tokens)
    database = await asyncpg.connect(os.environ["WORKER_POSTGRES__DSN"])
    before = await database.fetchval(contender.settled)
    try:
        with running(contender, _CONCURRENCY) as process:
            first = before + int(tokens * _EDGE)
            last = before + int(tokens * (1 - _EDGE))
            start = await _reached(database, contender, first, process)
            end = await _reached(database, contender, last, process)
            await _reached(database, contender, before + tokens, process)
            peak = sum(each.memory_info().rss for each in tree(process))
    finally:
        await database.close()
    settled = end[0] - start[0]
    return Cost((end[1] - start[1]) / settled * 1e6, settled / (end[2] - start[2]), peak / _MIB)


async def _reached(
    database: asyncpg.Connection[asyncpg.Record],
    contender: Contender,
    goal: int,
    process: psutil.Process,
) -> tuple[int, float, float]:
    """Tokens settled, CPU seconds of the worker, and the time, once the goal is reached."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            settled = await database.fetchval(contender.settled)
            if settled >= goal:
                return settled, _cpu_seconds(process), time.monotonic()
            await asyncio.sleep(0.02)


def _cpu_seconds(process: psutil.Process) -> float:
    times = [each.cpu_times() for each in tree(process)]
    return sum(one.user + one.system for one in times)


async def publish(contender: Contender, tokens: int) -> None:
    """Let tokens wait for a contender."""
    run = uuid.uuid4().hex
    batch = [_message(contender, run, number) for number in range(tokens)]
    async with await aio_pika.connect(os.environ["WORKER_AMQP__URL"]) as connection:
        publisher = await Publisher.open(connection)
        failed = [fault for fault in await publisher.publish_all(batch, 60) if fault]
    assert not failed, failed[0]


def _message(contender: Contender, run: str, number: int) -> Outgoing:
    # As long as a real token.
    message = contender.message(f"ok-{run}-{number}-".ljust(300, "x"))
    return Outgoing(
        contender.exchange,
        "token",
        message.body,
        message.message_id,
        message.correlation_id,
        headers=message.headers,
        mandatory=True,
    )
