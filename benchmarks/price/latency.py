"""The wait for an answer, from the publish to the reply in hand.

Tokens come independently of one another (exponential gaps, the same for each contender) and of
whether the ones before were answered: an open loop, in which whoever falls behind is seen to.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
import uuid
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aio_pika
import orjson

from benchmarks.price.ground import running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiormq.abc import DeliveredMessage

    from benchmarks.price.contenders import Contender

AWS_SECONDS: Final = 0.05
CONCURRENCY: Final = 256
_WARM_UP: Final = 20  # replies, before anything counts
LAST_SECONDS: Final = 20.0  # for the replies that are still missing at the end
_SEED: Final = 20260101


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits of one worker at one rate, in milliseconds beyond AWS's own time.

    Attributes:
        unanswered: How many got no reply.
    """

    rate: float
    p50: float
    p90: float
    p99: float
    most: float
    answered: int
    unanswered: int


async def waits(contender: Contender, rate: float, seconds: float) -> Waits:
    """Publish at a rate for some seconds, and measure; the simulator must answer in 50 ms."""
    with running(contender, CONCURRENCY):
        async with await aio_pika.connect(os.environ["WORKER_AMQP__URL"]) as connection:
            buyer = await PlainBuyer.at(connection, contender.exchange)
            await buyer.warm_up()
            offsets = arrivals(rate, seconds)
            return summary(rate, await buyer.measure(offsets), len(offsets))


def arrivals(rate: float, seconds: float) -> list[float]:
    """When tokens come, in seconds from the beginning: always the same for one rate."""
    chance = random.Random(_SEED)
    found = []
    due = chance.expovariate(rate)
    while due < seconds:
        found.append(due)
        due += chance.expovariate(rate)
    return found


async def capacity(contender: Contender, tokens: int) -> float:
    """Answers a second to tokens that are all submitted at once; the simulator as for `waits`.

    Broker, database, simulator and the buyer want their share of the machine, as they do when the
    waits are measured. The first and the last tenth are left out.
    """
    with running(contender, CONCURRENCY):
        async with await aio_pika.connect(os.environ["WORKER_AMQP__URL"]) as connection:
            buyer = await PlainBuyer.at(connection, contender.exchange)
            await buyer.warm_up()
            answered = sorted(await buyer.measure([0.0] * tokens))
    tenth = len(answered) // 10
    return (len(answered) - 2 * tenth) / (answered[-tenth - 1] - answered[tenth])


class Buyer(ABC):
    """Submits tokens and takes the answers."""

    def __init__(self) -> None:
        self._sent: dict[str, float] = {}
        self._waits: list[float] = []
        self._none = asyncio.Event()

    @abstractmethod
    async def submit(self, name: str, token: str) -> None:
        """Submit a token under this name; once it is answered, `answered` is to be called."""

    def answered(self, name: str) -> None:
        """The answer to this submission is in hand."""
        sent = self._sent.pop(name, None)
        if sent is not None:
            self._waits.append(time.perf_counter() - sent)
        if not self._sent:
            self._none.set()

    async def warm_up(self) -> None:
        """Wait until replies come."""
        for _ in range(_WARM_UP):
            await self._submit(time.perf_counter())
            await self._all_answered()
            assert not self._sent, "no reply"

    async def measure(self, offsets: Sequence[float]) -> list[float]:
        """Submit a token at each of these seconds from now; returns how long the answers took."""
        self._waits.clear()
        began = time.perf_counter()
        for offset in offsets:
            if (early := began + offset - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            await self._submit(began + offset)
        await self._all_answered()
        return self._waits

    async def _submit(self, due: float) -> None:
        name = uuid.uuid4().hex
        self._sent[name] = due
        await self.submit(name, f"ok-{name}-".ljust(300, "x"))

    async def _all_answered(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                self._none.clear()
                while self._sent:
                    await self._none.wait()
                    self._none.clear()


class PlainBuyer(Buyer):
    """Publishes without confirms, and takes the replies: the least that AMQP asks for."""

    def __init__(self, wire: Any, exchange: str, queue: str) -> None:
        super().__init__()
        self._wire, self._exchange, self._queue = wire, exchange, queue

    @classmethod
    async def at(cls, connection: aio_pika.abc.AbstractConnection, exchange: str) -> PlainBuyer:
        """One with a queue for replies."""
        wire = await (await connection.channel(publisher_confirms=False)).get_underlay_channel()
        # The worker's replies go through an exchange, the others' through the default one.
        key = f"resolution.reply.bench.{uuid.uuid4().hex}"
        await wire.queue_declare(key, exclusive=True, auto_delete=True)
        await wire.queue_bind(key, "resolution.answers", key)
        buyer = cls(wire, exchange, key)
        await wire.basic_consume(key, buyer._take, no_ack=True)
        return buyer

    async def _take(self, message: DeliveredMessage) -> None:
        self.answered(message.header.properties.correlation_id or "")

    async def submit(self, name: str, token: str) -> None:
        """Publish it."""
        properties = aio_pika.Message(
            b"", correlation_id=name, reply_to=self._queue, message_id=name
        ).properties
        await self._wire.basic_publish(
            orjson.dumps({"version": 1, "registration_token": token}),
            exchange=self._exchange,
            routing_key="token",
            properties=properties,
            wait=False,
        )


def summary(rate: float, measured: Sequence[float], sent: int) -> Waits:
    """Quantiles of these waits, in seconds, of so many submissions."""
    beyond = [(wait - AWS_SECONDS) * 1000 for wait in measured]
    percentiles = statistics.quantiles(beyond, n=100, method="inclusive")
    return Waits(
        rate,
        percentiles[49],
        percentiles[89],
        percentiles[98],
        max(beyond),
        len(beyond),
        sent - len(beyond),
    )
