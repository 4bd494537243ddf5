"""One queue's consumer, from its channel's opening to the channel's end."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from worker.adapters.rabbitmq import tolerance
from worker.adapters.rabbitmq.connection import BrokerLost, bounded
from worker.adapters.rabbitmq.delivery import BrokerDelivery
from worker.adapters.rabbitmq.supervision import open_wire
from worker.core.pacing import lends_anew

if TYPE_CHECKING:
    from collections.abc import Callable

    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel as Wire
    from aiormq.abc import DeliveredMessage

    from worker.core.records import Lane

_RPC_SECONDS: Final = 10.0
_ACK_SECONDS: Final = 10.0
_LENT_SECONDS: Final = 10.0  # a change costs three calls to the broker


@dataclass(frozen=True, slots=True)
class Source:
    """A queue to consume, its lane (None for parked messages), and how many it may lend us."""

    queue: str
    lane: Lane | None
    prefetch: int


class ConsumerCancelled(BrokerLost):
    """The broker ended a consumer, mostly since its queue was deleted or its node went."""


class Mode(Enum):
    """How much a consumer has lent to it.

    A consumer begins CAUTIOUS, with one message at a time: after a crash, the one that caused it is
    among the first, and is then handled with nothing else at stake. The first message without a
    history makes it WIDE. If one with a history comes then, it is put aside, and once all others
    are settled those put aside are handled ALONE, one after another.
    """

    CAUTIOUS = auto()
    WIDE = auto()
    ALONE = auto()


class Consumer:
    """Consumes one queue on a channel of its own.

    Attributes:
        source: What it consumes.
        wire: Its channel.
        mode: How much it has lent to it.
        unacked: Messages lent to us.
        active: When something was last delivered (loop time), or it last began.
        alive: Whether its deliveries may still be acked.
        cancelled: Whether the broker has ended it.
        seen: Whether anything was delivered yet.
        wanted: How many it would like to have lent to it while it is WIDE.
    """

    def __init__(
        self,
        source: Source,
        wire: Wire,
        deliver: Callable[[BrokerDelivery], None],
        attention: Callable[[], None],
    ) -> None:
        self.source = source
        self.wire = wire
        self.mode = Mode.CAUTIOUS
        self.unacked = 0
        self.active = asyncio.get_running_loop().time()
        self.alive = True
        self.cancelled = False
        self.seen = False
        self.wanted = self._lent = source.prefetch
        self._lent_at = float("-inf")
        self._ended = False
        self._deliver = deliver
        self._attention = attention
        self._tag: str | None = None
        self._aside: deque[BrokerDelivery] = deque()
        self._harmless = False

    @classmethod
    async def open(
        cls,
        connection: AbstractConnection,
        source: Source,
        deliver: Callable[[BrokerDelivery], None],
        attention: Callable[[], None],
    ) -> Consumer:
        """Open a channel and begin to consume, cautiously.

        Args:
            connection: One on which nothing is published.
            source: What to consume.
            deliver: Called with each delivery.
            attention: Called when `step` has something to do, or the consumer has ended.

        Raises:
            BrokerLost: It could not be started; its kind `ChannelRefused` says why.
        """
        tolerance.install()
        consumer = cls(source, await open_wire(connection), deliver, attention)
        consumer.wire.on_consumer_cancel_callbacks.add(consumer._on_cancelled)
        consumer.wire.closing.add_done_callback(lambda _: attention())
        await consumer._consume(1)
        return consumer

    @property
    def careful(self) -> bool:
        """Whether it still takes, or has just taken, what may end the process."""
        return self.mode is not Mode.WIDE

    def starving(self, ready: int, now: float, seconds: float) -> bool:
        """Whether messages wait, there is room for them, and none has come for so long."""
        lent_most = {Mode.CAUTIOUS: 1, Mode.WIDE: self._lent, Mode.ALONE: 0}[self.mode]
        return ready > 0 and self.unacked < lent_most and now - self.active > seconds

    async def step(self) -> None:
        """Widen or narrow, if it is time to.

        Raises:
            BrokerLost: The channel is gone.
        """
        if self.mode is Mode.CAUTIOUS and self._harmless:
            self.mode = Mode.WIDE
            await self._widen()
        elif self.mode is Mode.WIDE and self._aside:
            self.mode = Mode.ALONE
            await self._cancel()
        elif self.mode is Mode.WIDE and self._lends_anew():
            self._lent_at = asyncio.get_running_loop().time()
            await self._widen()
        if self.mode is Mode.ALONE and self.unacked == len(self._aside):
            await self._next_alone()

    def _lends_anew(self) -> bool:
        due = self._lent_at + _LENT_SECONDS <= asyncio.get_running_loop().time()
        return due and lends_anew(self._lent, self.wanted)

    async def _widen(self) -> None:
        """Consume anew: the broker counts what it lends by consumer, and fixes it as one begins."""
        await self._cancel()
        self._lent = self.wanted
        await self._consume(self._lent)

    async def _next_alone(self) -> None:
        if self._aside:
            self._deliver(self._aside.popleft())
        else:
            self.mode, self._harmless = Mode.CAUTIOUS, False
            await self._consume(1)

    async def ack(self, delivery: BrokerDelivery) -> None:
        """Ack a delivery, if that still means anything."""
        if not self.alive:
            return
        self.unacked -= 1
        try:
            await bounded(self.wire.basic_ack(delivery.tag, wait=False), _ACK_SECONDS)
        except BrokerLost:
            self.alive = False
            self._on_cancelled(None)
        if self.mode is Mode.ALONE:
            self._attention()

    async def end(self) -> None:
        """Be handed nothing more; what was handed out may still be acked.

        Raises:
            BrokerLost: The channel is gone.
        """
        self._ended = True
        await self._cancel()

    async def _cancel(self) -> None:
        tag, self._tag = self._tag, None
        if tag is not None:
            await bounded(self.wire.basic_cancel(tag), _RPC_SECONDS)

    async def _consume(self, prefetch: int) -> None:
        if self._ended:
            return
        self.active = asyncio.get_running_loop().time()
        await bounded(self.wire.basic_qos(prefetch_count=prefetch), _RPC_SECONDS)
        began = await bounded(
            self.wire.basic_consume(self.source.queue, self._receive), _RPC_SECONDS
        )
        self._tag = began.consumer_tag
        await self._cancel_if_ended()

    async def _cancel_if_ended(self) -> None:
        if self._ended:  # while the broker was asked
            await self._cancel()

    async def _receive(self, message: DeliveredMessage) -> None:
        self.active = asyncio.get_running_loop().time()
        self.unacked += 1
        delivery = BrokerDelivery(self, message, self.active)
        if not delivery.suspect:
            self._deliver(delivery)
            self._harmless = True
        elif self.mode is Mode.CAUTIOUS and self.unacked == 1:
            self._deliver(delivery)
        else:
            self._aside.append(delivery)
        if not self.seen or self.mode is not Mode.WIDE or self._aside:
            self.seen = True
            self._attention()

    def _on_cancelled(self, _: object) -> None:
        self.cancelled = True
        self._attention()


async def measure(wire: Wire, queue: str) -> int:
    """How many messages wait in a queue.

    Raises:
        BrokerLost: The broker did not say.
    """
    found = await bounded(wire.queue_declare(queue, passive=True), _RPC_SECONDS)
    return found.message_count or 0
