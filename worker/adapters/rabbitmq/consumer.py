"""One queue's consumer, from its channel's opening to the channel's end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.adapters.rabbitmq import lenient_decoding, library
from worker.adapters.rabbitmq.acking import acks
from worker.adapters.rabbitmq.connection import bounded
from worker.adapters.rabbitmq.delivery import BrokerDelivery
from worker.adapters.rabbitmq.reconnecting import open_wire
from worker.core.exceptions import BrokerLost
from worker.core.token.poison import Guard, Mode
from worker.core.token.prefetch import MOST_IN_HAND, is_worth_changing, prefetch_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel as Wire
    from aiormq.abc import DeliveredMessage

    from worker.core.records import Lane

_RPC_SECONDS: Final = 10.0
_ACK_SECONDS: Final = 10.0
_LENT_SECONDS: Final = 10.0  # a change costs three calls to the broker


@dataclass(frozen=True, slots=True)
class Source:
    """What to consume, and how much of it at once.

    Attributes:
        lane: Its lane; None for parked messages.
        prefetch: How many messages may be unacked; 0 takes none.
        most: How many may ever be in hand, those included that came before a change.
    """

    queue: str
    lane: Lane | None
    prefetch: int
    most: int = MOST_IN_HAND


class ConsumerCancelled(BrokerLost):
    """The broker ended a consumer, mostly since its queue was deleted or its node went."""


class Consumer:
    """Consumes one queue on a channel of its own.

    Attributes:
        source: What it consumes.
        wire: Its channel.
        active: When something was last delivered (loop time), or it last began.
        alive: Whether its deliveries may still be acked.
        cancelled: Whether the broker has ended it.
        seen: Whether anything was delivered yet.
        wanted: The prefetch it would like to have while nothing is suspected; 0 to take nothing.
    """

    def __init__(
        self,
        source: Source,
        wire: Wire,
        deliver: Callable[[BrokerDelivery], None],
        attention: Callable[[], None],
        deaths: Callable[[], int],
    ) -> None:
        self.source = source
        self.wire = wire
        self.active = asyncio.get_running_loop().time()
        self.alive = True
        self.cancelled = False
        self.seen = False
        self.wanted = source.prefetch
        self._prefetch = 0  # of what consumes now
        self._changed_at = float("-inf")
        self._cautious = True  # whether caution chose that prefetch
        self._asked = 0  # what was wanted then; the prefetch may be less
        self._no_room = False  # whether too much is in hand for any prefetch
        self._ended = False
        self._deliver = deliver
        self._attention = attention
        self._deaths = deaths
        self._tag: str | None = None
        self._guard: Guard[BrokerDelivery] = Guard(deaths())
        self._outstanding: dict[int, None] = {}  # tags, in their order
        self._acked: list[int] = []
        self._acking = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None  # kept, so that it is not collected

    @classmethod
    async def open(
        cls,
        connection: AbstractConnection,
        source: Source,
        deliver: Callable[[BrokerDelivery], None],
        attention: Callable[[], None],
        deaths: Callable[[], int],
    ) -> Consumer:
        """Open a channel and begin to consume; cautiously, if a process has died lately.

        Args:
            connection: One on which nothing is published.
            source: What to consume.
            deliver: Called with each delivery.
            attention: Called when `step` has something to do, or the consumer has ended.
            deaths: How many processes have died lately.

        Raises:
            BrokerLost: It could not be started; its kind `ChannelRefused` says why.
        """
        lenient_decoding.install()
        consumer = cls(source, await open_wire(connection), deliver, attention, deaths)
        consumer.wire.on_consumer_cancel_callbacks.add(consumer._on_cancelled)
        consumer.wire.closing.add_done_callback(lambda _: attention())
        await consumer.step()
        return consumer

    @property
    def unacked(self) -> int:
        """How many messages are delivered to us and not acked."""
        return len(self._guard)

    @property
    def in_hand(self) -> Iterable[BrokerDelivery]:
        """These messages."""
        return self._guard.held

    @property
    def suspected(self) -> int:
        """How many of them are suspected to end processes."""
        return self._guard.suspected

    @property
    def met(self) -> int:
        """How many suspected messages it has met."""
        return self._guard.met

    @property
    def careful(self) -> bool:
        """Whether it takes less than it could, for what it takes may end the process."""
        return self._guard.mode is not Mode.NORMAL

    def starving(self, ready: int, now: float, seconds: float) -> bool:
        """Whether messages wait, there is room for them, and none has come for so long."""
        return ready > 0 and self.unacked < self._prefetch and now - self.active > seconds

    async def step(self) -> None:
        """Hand out what was set aside, and take more or fewer messages, if it is time to.

        Raises:
            BrokerLost: The channel is gone.
        """
        for delivery in self._guard.step(self._deaths()):
            self._deliver(delivery)
        prefetch = 0 if self._ended else self._guard.prefetch(self.wanted)
        if self._is_to_change(prefetch):
            await self._change(prefetch)

    def _is_to_change(self, prefetch: int) -> bool:
        """Whether to consume anew with another prefetch.

        To begin, to stop and what caution wants is done at once; what is wanted in normal times
        changes all the time, and is followed only now and then.
        """
        if prefetch == self._prefetch or (self._prefetch and prefetch == self._asked):
            return False
        if self._cautious or not prefetch or not self._prefetch:
            return True
        due = self._changed_at + _LENT_SECONDS <= asyncio.get_running_loop().time()
        return due and is_worth_changing(self._prefetch, prefetch)

    async def _change(self, prefetch: int) -> None:
        """Consume anew: the broker counts prefetch by consumer, and fixes it as one begins."""
        if not self._cautious and self._prefetch:
            self._changed_at = asyncio.get_running_loop().time()
        self._cautious = self.careful
        await self._cancel()
        fits = prefetch_beside(prefetch, self.source.most, self.unacked)
        self._asked, self._no_room = prefetch, bool(prefetch and not fits)
        await self._consume(fits)

    def ack(self, delivery: BrokerDelivery) -> None:
        """Ack a delivery, if that still means anything, with all others of this moment."""
        if not delivery.alive or delivery not in self._guard:
            return
        self._guard.let_go(delivery)
        del self._outstanding[delivery.tag]
        if not self._acked:
            self._flushing = asyncio.create_task(self.flush(), name="acks of a consumer")
        self._acked.append(delivery.tag)
        if self.careful or self._no_room:
            self._attention()

    async def flush(self) -> None:
        """Give all acks so far to the connection."""
        async with self._acking:  # one after the other: an ack of many includes those before it
            tags, self._acked = self._acked, []
            if not tags or not self.alive:
                return
            least = next(iter(self._outstanding), None)
            try:
                await bounded(self._write(acks(tags, least, self.wire.number)), _ACK_SECONDS)
            except BrokerLost:
                self.lose()
                self._on_cancelled(None)

    async def _write(self, frames: bytes) -> None:
        if self.wire.is_closed:
            raise BrokerLost("the channel is closed")
        await library.write(self.wire, frames)

    async def give_back(self, before: float) -> int:
        """Return to its queue whatever came before an instant (loop time); how many that were.

        Raises:
            BrokerLost: The channel is gone.
        """
        overdue = [delivery for delivery in self._guard.held if delivery.arrived < before]
        for delivery in overdue:  # all of them first: acks may come between the calls that follow
            delivery.alive = False
            self._guard.let_go(delivery)
        for delivery in overdue:
            await bounded(
                self.wire.basic_nack(delivery.tag, requeue=True, wait=False), _ACK_SECONDS
            )
            # Not before: an ack of many that overtakes it would include it, and lose the message.
            del self._outstanding[delivery.tag]
        return len(overdue)

    def lose(self) -> None:
        """Take note that the channel is gone, and with it everything that came over it."""
        self.alive = False
        for delivery in self._guard.held:
            delivery.alive = False

    async def end(self) -> None:
        """Be handed nothing more; what was handed out may still be acked.

        Raises:
            BrokerLost: The channel is gone.
        """
        self._ended = True
        await self._cancel()

    async def _cancel(self) -> None:
        tag, self._tag, self._prefetch = self._tag, None, 0
        if tag is not None:
            await bounded(self.wire.basic_cancel(tag), _RPC_SECONDS)

    async def _consume(self, prefetch: int) -> None:
        if self._ended or not prefetch:
            return
        self.active = asyncio.get_running_loop().time()
        await bounded(self.wire.basic_qos(prefetch_count=prefetch), _RPC_SECONDS)
        began = await bounded(
            self.wire.basic_consume(self.source.queue, self._receive), _RPC_SECONDS
        )
        self._tag, self._prefetch = began.consumer_tag, prefetch
        await self._cancel_if_ended()

    async def _cancel_if_ended(self) -> None:
        if self._ended:  # while the broker was asked
            await self._cancel()

    async def _receive(self, message: DeliveredMessage) -> None:
        if not self.alive:
            return
        self.active = asyncio.get_running_loop().time()
        delivery = BrokerDelivery(message, self.source.lane, self.active, self.ack)
        self._outstanding[delivery.tag] = None
        suspect = delivery.came_back_often and self._deaths() > 0
        if self._guard.take(delivery, suspect=suspect):
            self._deliver(delivery)
        if suspect or self.careful or not self.seen:
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
