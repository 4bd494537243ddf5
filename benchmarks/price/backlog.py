"""What a token costs, and how large the worker grows, with few or very many tokens waiting."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aio_pika

from benchmarks.price.contenders import OURS
from benchmarks.price.ground import simulator
from benchmarks.price.saturated import cost_of_waiting, publish
from worker.adapters.rabbitmq.topology import TOKENS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

_MEASURED: Final = 10_000  # tokens of a long queue


@dataclass(frozen=True, slots=True)
class Waiting:
    """What was measured with so many waiting: medians of the rounds."""

    tokens: int
    cpu_microseconds: float
    peak_mib: float


async def with_waiting(sizes: Iterable[int], rounds: int) -> AsyncIterator[Waiting]:
    """What the first 10,000 tokens of each so long queue cost; all of a shorter one."""
    with simulator():
        for size in sizes:
            costs = []
            for _ in range(rounds):
                await publish(OURS, size - await _waiting())
                costs.append(await cost_of_waiting(OURS, min(size, _MEASURED)))
            await _waiting(purge=True)
            yield Waiting(
                size,
                statistics.median(each.cpu_microseconds for each in costs),
                max(each.peak_mib for each in costs),
            )


async def _waiting(*, purge: bool = False) -> int:
    """How many wait."""
    async with await aio_pika.connect(os.environ["WORKER_AMQP__URL"]) as connection:
        queue = await (await connection.channel()).declare_queue(TOKENS, passive=True)
        if purge:
            await queue.purge()
        return queue.declaration_result.message_count or 0
