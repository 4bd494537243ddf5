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
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aio_pika
import asyncpg
import psutil

from benchmarks.price.contenders import OURS
from benchmarks.price.ground import running, simulator, tree
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core.token.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.price.contenders import Contender

_CONCURRENCY: Final = 64
_BATCH: Final = 5000
_EDGE: Final = 0.05
_PATIENCE_SECONDS: Final = 180.0
_MIB: Final = 2**20
_SERVERS: Final = {"beam.smp": "broker", "postgres": "database"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one round has shown of one worker, or of several replicas together.

    Attributes:
        others_microseconds: CPU a token of broker and database, by name.
    """

    cpu_microseconds: float
    tokens_per_second: float
    peak_mib: float
    others_microseconds: dict[str, float]


async def costs(contenders: Sequence[Contender], tokens: int, rounds: int) -> dict[str, list[Cost]]:
    """What a token costs each contender, round by round."""
    found: dict[str, list[Cost]] = {each.name: [] for each in contenders}
    with simulator():
        for number in range(rounds):
            # Whoever goes first has the colder caches: take turns.
            for each in contenders if number % 2 == 0 else reversed(contenders):
                found[each.name].append(await cost(each, tokens))
    return found


async def costs_of_replicas(tokens: int, rounds: int) -> dict[int, list[Cost]]:
    """What a token costs one replica of this worker, and two together, round by round."""
    found: dict[int, list[Cost]] = {1: [], 2: []}
    with simulator():
        for _ in range(rounds):
            for replicas, costs in found.items():
                await publish(OURS, tokens)
                costs.append(await cost_of_waiting(OURS, tokens, replicas))
    return found


async def cost(contender: Contender, tokens: int) -> Cost:
    """One round of one contender, from publish to the last token; the simulator must run."""
    await publish(contender, tokens)
    return await cost_of_waiting(contender, tokens)


async def cost_of_waiting(contender: Contender, tokens: int, replicas: int = 1) -> Cost:
    """What the next so many of the waiting tokens cost; those behind them go on waiting."""
    database = await asyncpg.connect(os.environ["WORKER_POSTGRES__DSN"])
    before = await database.fetchval(contender.settled)
    with ExitStack() as ends:
        ends.callback(database.terminate)
        workers = [ends.enter_context(running(contender, _CONCURRENCY)) for _ in range(replicas)]
        first = before + int(tokens * _EDGE)
        last = before + int(tokens * (1 - _EDGE))
        start = await _reached(database, contender, first, workers)
        end = await _reached(database, contender, last, workers)
        await _reached(database, contender, before + tokens, workers)
        peak = sum(each.memory_info().rss for worker in workers for each in tree(worker))
    settled = end.settled - start.settled
    return Cost(
        (end.cpu_seconds - start.cpu_seconds) / settled * 1e6,
        settled / (end.at - start.at),
        peak / _MIB,
        {
            name: (seconds - start.others_seconds[name]) / settled * 1e6
            for name, seconds in end.others_seconds.items()
        },
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """Where a round stands: tokens settled, CPU spent so far, and the time."""

    settled: int
    cpu_seconds: float
    others_seconds: dict[str, float]
    at: float


async def _reached(
    database: asyncpg.Connection[asyncpg.Record],
    contender: Contender,
    goal: int,
    workers: Sequence[psutil.Process],
) -> _Look:
    """How it stands once so many tokens are settled."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            settled = await database.fetchval(contender.settled)
            if settled >= goal:
                spent = sum(_cpu_seconds(worker) for worker in workers)
                return _Look(settled, spent, _others_seconds(), time.monotonic())
            await asyncio.sleep(0.02)


def _cpu_seconds(process: psutil.Process) -> float:
    times = [each.cpu_times() for each in tree(process)]
    return sum(one.user + one.system for one in times)


def _others_seconds() -> dict[str, float]:
    """CPU seconds so far of the servers that this process has started, by their names."""
    spent = dict.fromkeys(_SERVERS.values(), 0.0)
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if name := _SERVERS.get(each.name()):
                times = each.cpu_times()
                spent[name] += times.user + times.system
    return spent


async def publish(contender: Contender, tokens: int) -> None:
    """Let tokens wait for a contender."""
    run = uuid.uuid4().hex
    async with await aio_pika.connect(os.environ["WORKER_AMQP__URL"]) as connection:
        publisher = await Publisher.open(connection)
        for start in range(0, tokens, _BATCH):
            numbers = range(start, min(start + _BATCH, tokens))
            batch = [_message(contender, run, number) for number in numbers]
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
