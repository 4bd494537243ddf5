"""One way of asking this worker, in a process of its own, which prints what was found as JSON.

`plain` is the least that AMQP asks for; `client` is `resolution_client.Resolver`, with confirms,
deadlines and its ear to the workers' state. Both know the broker from the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import aio_pika
import psutil

from benchmarks.price.contenders import OURS
from benchmarks.price.latency import LAST_SECONDS, Buyer, PlainBuyer
from resolution_client import Resolved, Resolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one way.

    Attributes:
        waits: Seconds from when a token was due to its answer in hand.
        sent: How many tokens were submitted.
        cpu_seconds: Of this process (user and system) meanwhile, making the load included.
        idle_mib: Resident before.
        grown_mib: By how much more was resident at most.
    """

    waits: list[float]
    sent: int
    cpu_seconds: float
    idle_mib: float
    grown_mib: float


class _ClientBuyer(Buyer):
    """Asks through the client, a task a token."""

    def __init__(self, resolver: Resolver) -> None:
        super().__init__()
        self._resolver = resolver
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, name: str, token: str) -> None:
        """Have a task ask."""
        task = asyncio.create_task(self._resolve(name, token))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve(self, name: str, token: str) -> None:
        answer = await self._resolver.resolve(token, wait=LAST_SECONDS)
        if isinstance(answer, Resolved):
            self.answered(name)


@asynccontextmanager
async def _plain() -> AsyncIterator[Buyer]:
    async with await aio_pika.connect(os.environ["WORKER_AMQP__URL"]) as connection:
        yield await PlainBuyer.at(connection, OURS.exchange)


@asynccontextmanager
async def _client() -> AsyncIterator[Buyer]:
    async with Resolver(os.environ["WORKER_AMQP__URL"]) as resolver:
        yield _ClientBuyer(resolver)


WAYS: Final = {"plain": _plain, "client": _client}


async def found(way: str, offsets: Sequence[float]) -> Found:
    """Run one way in a process of its own, with a token at each of these seconds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.price.asking", way),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate(json.dumps(offsets).encode())
    assert process.returncode == 0, f"asking by {way} failed"
    return Found(**json.loads(said))


async def _main(way: str, offsets: Sequence[float]) -> Found:
    async with WAYS[way]() as buyer:
        await buyer.warm_up()
        idle = psutil.Process().memory_info().rss
        began = time.process_time()
        waits = await buyer.measure(offsets)
        spent = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Found(waits, len(offsets), spent, idle / _MIB, (peak - idle) / _MIB)


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_main(sys.argv[1], json.load(sys.stdin))))))
