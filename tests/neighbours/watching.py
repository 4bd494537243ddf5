"""What can be seen of a replica and of the broker while a scenario goes on."""

from __future__ import annotations

import asyncio
import inspect
import json
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.quota.figures import share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from harness.programs import Worker
    from harness.servers import Broker

_SAMPLE_SECONDS: Final = 0.2
_MINUTE: Final = 60.0
_TOTALS: Final = {"disable_stats": "true", "enable_queue_totals": "true"}
_NOT_SAID: Final = {"debug"}


async def becomes(
    check: Callable[[], Awaitable[bool] | bool], seconds: float, every: float = 0.05
) -> bool:
    """Wait until something is so, or until so many seconds are over: whether it is.

    Unlike `eventually` it does not fail: a scenario is told in figures, to its end.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while True:
        found = check()
        if await found if inspect.isawaitable(found) else found:
            return True
        if loop.time() >= ends:
            return False
        await asyncio.sleep(every)


class Sample(NamedTuple):
    """What `/readyz` answered.

    Attributes:
        at: When it was asked (loop time).
        status: The HTTP status; 0 where nobody answered.
        text: The body.
        seconds: How long the answer took.
    """

    at: float
    status: int
    text: str
    seconds: float

    def names(self, words: Sequence[str]) -> bool:
        """Whether it says that the replica can't work, with one of these words."""
        said = self.text.casefold()
        return self.status == 503 and any(word in said for word in words)


class Readiness:
    """A replica's `/readyz`, five times a second."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    @property
    def ready(self) -> float:
        """The share of samples at which it was ready, in percent."""
        return share(sum(one.status == 200 for one in self.samples), len(self.samples))

    def named(self, words: Sequence[str], last_seconds: float) -> float:
        """The share of the last seconds' samples that name a fault with one of these words."""
        last = [one for one in self.samples if one.at > self.samples[-1].at - last_seconds]
        return share(sum(one.names(words) for one in last), len(last))

    def first_named(self, words: Sequence[str]) -> float:
        """Seconds from the first sample to the first that names the fault; infinite if none."""
        found = (one.at for one in self.samples if one.names(words))
        return next(found, float("inf")) - self.samples[0].at

    @property
    def slowest(self) -> float:
        """The longest that an answer took (seconds); infinite where one never came."""
        return max(one.seconds if one.status else float("inf") for one in self.samples)

    async def watch(self, worker: Worker) -> None:
        """Sample until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            status, text = await worker.get("/readyz")
            self.samples.append(Sample(began, status, text, loop.time() - began))
            await asyncio.sleep(began + _SAMPLE_SECONDS - loop.time())


@asynccontextmanager
async def readiness(worker: Worker) -> AsyncIterator[Readiness]:
    """A replica's readiness, watched until the block ends."""
    seen = Readiness()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(seen.watch(worker))
        yield seen
        watching.cancel()


def busiest_minute(worker: Worker, since: int) -> int:
    """The most lines at level info and above that came in one minute, from a line's number on."""
    lines = [json.loads(line) for line in tuple(worker.err)[since:]]
    times = [
        datetime.fromisoformat(line["timestamp"]).timestamp()
        for line in lines
        if line["level"] not in _NOT_SAID
    ]
    return max((sum(one <= at < one + _MINUTE for at in times) for one in times), default=0)


async def in_hand(broker: Broker) -> int:
    """How many messages the broker has handed out without an ack; up to five seconds old."""
    queues = await asyncio.to_thread(
        broker.management.call, "GET", "queues", broker.vhost, query=_TOTALS
    )
    return sum(
        queue.get("messages_unacknowledged", 0)
        for queue in queues
        if queue["name"].startswith("resolution.") and ".reply." not in queue["name"]
    )
