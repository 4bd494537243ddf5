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
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aio_pika
import orjson

from benchmarks.price.ground import running

if TYPE_CHECKING:
    from aiormq.abc import DeliveredMessage

    from benchmarks.price.contenders import Contender

AWS_SECONDS: Final = 0.05
CONCURRENCY: Final = 256
_WARM_UP: Final = 20  # replies, before anything counts
_LAST_SECONDS: Final = 20.0  # for the replies that are still missing at the end
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
            buyer = await _Buyer.at(connection, contender.exchange)
            await buyer.warm_up()
            return await buyer.measure(rate, seconds)


class _Buyer:
    """Publishes tokens and takes the replies."""

    def __init__(self, wire: Any, exchange: str, queue: str) -> None:
        self._wire, self._exchange, self._queue = wire, exchange, queue
        self._sent: dict[str, float] = {}
        self._waits: list[float] = []
        self._none = asyncio.Event()

    @classmethod
    async def at(cls, connection: aio_pika.abc.AbstractConnection, exchange: str) -> _Buyer:
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
        sent = self._sent.pop(message.header.properties.correlation_id or "", None)
        if sent is not None:
            self._waits.append(time.perf_counter() - sent)
        if not self._sent:
            self._none.set()

    async def warm_up(self) -> None:
        """Wait until replies come."""
        for _ in range(_WARM_UP):
            await self._publish()
            await self._all_answered(_LAST_SECONDS)
            assert not self._sent, "no reply"

    async def measure(self, rate: float, seconds: float) -> Waits:
        """Publish at a rate, and tell how long the replies took."""
        self._waits.clear()
        chance = random.Random(_SEED)
        due = began = time.perf_counter()
        sent = 0
        while (due := due + chance.expovariate(rate)) < began + seconds:
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            await self._publish(due)
            sent += 1
        await self._all_answered(_LAST_SECONDS)
        return _summary(rate, self._waits, sent)

    async def _all_answered(self, seconds: float) -> None:
        """Wait so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                self._none.clear()
                while self._sent:
                    await self._none.wait()
                    self._none.clear()

    async def _publish(self, due: float | None = None) -> None:
        correlation_id = uuid.uuid4().hex
        token = f"ok-{correlation_id}-".ljust(300, "x")
        self._sent[correlation_id] = due or time.perf_counter()
        properties = aio_pika.Message(
            b"", correlation_id=correlation_id, reply_to=self._queue, message_id=correlation_id
        ).properties
        await self._wire.basic_publish(
            orjson.dumps({"version": 1, "registration_token": token}),
            exchange=self._exchange,
            routing_key="token",
            properties=properties,
            wait=False,
        )


def _summary(rate: float, measured: list[float], sent: int) -> Waits:
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
