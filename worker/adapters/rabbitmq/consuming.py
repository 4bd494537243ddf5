"""The consuming link: a supervised connection whose consumption is proved, not assumed.

Consuming and publishing have connections of their own: a broker under alarm stops reading from
connections that publish, and acks must still get through.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from worker.adapters.rabbitmq.connection import connected
from worker.adapters.rabbitmq.consumer import Consumer, ConsumerCancelled, measure
from worker.adapters.rabbitmq.poison_log import PoisonLog
from worker.adapters.rabbitmq.reconnecting import open_wire, supervise, why_closed
from worker.adapters.rabbitmq.rights import explaining
from worker.core.exceptions import BrokerLost
from worker.core.token.prefetch import HOLD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel as Wire

    from worker.adapters.rabbitmq.consumer import Source
    from worker.adapters.rabbitmq.delivery import BrokerDelivery
    from worker.adapters.rabbitmq.queue_watch import QueueWatch
    from worker.adapters.rabbitmq.topology import Topology
    from worker.core.records import Lane

log: Final = structlog.get_logger()

_LOOK_SECONDS: Final = 5.0
_STARVING_SECONDS: Final = 15.0
_STALLS_BEFORE_FAILING: Final = 3
_QUIET_SECONDS: Final = 0.25
_UNKNOWN_SECONDS: Final = 12.0  # until a death is noticed: the lease lapses, and is not renewed


class ConsumptionStalled(BrokerLost):
    """Messages wait, we could take them, and the broker hands out none."""


class ConsumingLink:
    """Consumes its sources, and goes on doing so, whatever becomes of the connection.

    Args:
        url: Asked for at each new connection.
        topology: What must be there before anything is consumed.
        sources: What to consume. When a process may have died lately, one begins after another, so
            that a message which ended it is handled before the next has anything at stake.
        watch: Watches the queues that are not consumed.
        deliver: Called with each delivery.
        lost: Called when deliveries have died: an epoch is over, or they were held for too long.
        report: Called with why nothing is consumed, or None once it is.
        deaths: How many processes of the fleet have died lately; at 0 no message is suspected.
        hold_seconds: What was in hand for so long, wherever it is, is returned to its queue.

    Attributes:
        ready: Messages waiting, by queue, as last measured; empty while the broker is away.
        connections: How many were opened.
        stalls: How often in a row a queue's consumer was found to stand still.
    """

    def __init__(
        self,
        url: Callable[[], str],
        topology: Topology,
        sources: Sequence[Source],
        *,
        watch: QueueWatch,
        deliver: Callable[[BrokerDelivery], None],
        lost: Callable[[], None],
        report: Callable[[str | None], None],
        deaths: Callable[[], int],
        hold_seconds: float = HOLD_SECONDS,
    ) -> None:
        self._url = url
        self._topology = topology
        self._sources = list(sources)
        self._watch = watch
        self._deliver = deliver
        self._lost = lost
        self._report = report
        self._deaths = deaths
        self._hold_seconds = hold_seconds
        self._poison_log = PoisonLog()
        self._unknown_until = float("-inf")
        self._consumers: list[Consumer] = []
        self._attention = asyncio.Event()
        self._stopping = False
        self._look_at = 0.0
        self.ready: dict[str, int] = {}
        self.connections = 0
        self.stalls: Counter[str] = Counter()

    @property
    def stands_still(self) -> bool:
        """Whether consuming was rebuilt several times, and still hands out nothing."""
        return any(times >= _STALLS_BEFORE_FAILING for times in self.stalls.values())

    @property
    def suspected(self) -> int:
        """How many messages in hand are suspected to end processes."""
        return sum(consumer.suspected for consumer in self._consumers)

    def unacked(self, lane: Lane) -> int:
        """How many messages of a lane are in hand."""
        return sum(each.unacked for each in self._consumers if each.source.lane is lane)

    def longest_in_hand_seconds(self, lane: Lane) -> float:
        """How long the oldest of these has been in hand, wherever it is; 0 without any.

        Other than a message's own time, nobody else can have written it.
        """
        arrived = [
            delivery.arrived
            for each in self._consumers
            if each.source.lane is lane
            for delivery in each.in_hand
        ]
        return asyncio.get_running_loop().time() - min(arrived) if arrived else 0.0

    def set_prefetch(self, lane: Lane, prefetch: int) -> None:
        """Take about so many messages of a lane from now on.

        It follows changes of more than a factor of two, and not more often than each ten seconds;
        but 0, which takes nothing from the lane, and what comes after it are followed at once.
        What was delivered before stays in hand. To be called as often as one likes.
        """
        self._sources = [
            replace(source, prefetch=prefetch) if source.lane is lane else source
            for source in self._sources
        ]
        for consumer in self._consumers:
            if consumer.source.lane is lane and consumer.wanted != prefetch:
                consumer.wanted = prefetch
                self._attention.set()

    async def run(self) -> None:
        """Consume until `stop`, then until cancelled keep the channels for the last acks."""
        self._unknown_until = asyncio.get_running_loop().time() + _UNKNOWN_SECONDS
        await supervise("consume", self._epoch, self._report)

    async def stop(self) -> None:
        """Be handed nothing more. What was handed out may still be acked."""
        self._stopping = True
        with suppress(BrokerLost):
            for consumer in self._consumers:
                await consumer.end()

    async def settle(self) -> None:
        """Make sure that the broker has read the last acks: one answered call behind them."""
        with suppress(BrokerLost):
            for consumer in self._consumers:
                await consumer.flush()
                await measure(consumer.wire, consumer.source.queue)

    async def _epoch(self) -> None:
        if self._stopping:
            return
        url = self._url()
        async with (
            connected(url, name="resolution-worker consume") as connection,
            explaining(connection, url, self._watch.queues),
        ):
            self.connections += 1
            await self._watch.begin(connection, self._topology)
            watching = await open_wire(connection)
            watching.closing.add_done_callback(lambda _: self._attention.set())
            try:
                await self._begin_all(connection, watching)
                log.info("consuming", queues=[source.queue for source in self._sources])
                while True:
                    await self._attend(_LOOK_SECONDS, watching)
            finally:
                self._end_epoch()

    def _deaths_known(self) -> int:
        """How many processes have died, as far as it matters to what comes.

        A process that has just begun doesn't know how the one before it ended, until that would be
        noticed; so it takes one to have died. Once a connection of its own is lost, what comes back
        is what it held itself.
        """
        unknown = asyncio.get_running_loop().time() < self._unknown_until
        return max(self._deaths(), int(unknown))

    def _end_epoch(self) -> None:
        self._unknown_until = float("-inf")
        self._poison_log.end()
        self._poison_log = PoisonLog()
        for consumer in self._consumers:
            consumer.lose()
        self._consumers = []
        self.ready = {}
        self._look_at = 0.0
        self._lost()

    async def _begin_all(self, connection: AbstractConnection, watching: Wire) -> None:
        """Begin one source after another; after a death each once the one before is harmless."""
        for place in range(len(self._sources)):  # their prefetch changes meanwhile
            if self._stopping:
                return
            source = self._sources[place]
            consumer = await Consumer.open(
                connection, source, self._deliver, self._attention.set, self._deaths_known
            )
            self._consumers.append(consumer)
            await self._end_if_stopping(consumer)
            self._report(None)  # the first may be held up for as long as calls are held
            if consumer.careful:
                await self._until_cleared(consumer, watching)

    async def _end_if_stopping(self, consumer: Consumer) -> None:
        """End one that began while it was already time to stop."""
        if self._stopping:
            await consumer.end()

    async def _until_cleared(self, consumer: Consumer, watching: Wire) -> None:
        """Until a harmless message came, or none at all for a moment."""
        loop = asyncio.get_running_loop()
        while not self._stopping:
            await self._attend(_QUIET_SECONDS, watching)
            quiet = loop.time() - consumer.active >= _QUIET_SECONDS and not consumer.unacked
            if quiet or not consumer.careful:
                return

    async def _attend(self, seconds: float, watching: Wire) -> None:
        """Look after the consumers for a while, and at the queues whenever that is due.

        Raises:
            BrokerLost: One of the consumers is of no use any more.
        """
        now = asyncio.get_running_loop().time
        if now() >= self._look_at:
            self._look_at = now() + _LOOK_SECONDS
            await self._look(watching)
        await self._until_attention(min(seconds, self._look_at - now()), watching)

    async def _until_attention(self, seconds: float, watching: Wire) -> None:
        """Wait a while for a consumer that wants attention, and give it to all of them.

        Raises:
            BrokerLost: A channel or a consumer has ended.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._attention.wait()
        self._attention.clear()
        for wire in (watching, *(consumer.wire for consumer in self._consumers)):
            if wire.is_closed:  # `closing` would leave an observer behind at each look
                raise why_closed(wire)
        for consumer in self._consumers:
            if consumer.cancelled:
                raise ConsumerCancelled(f"the consumer of {consumer.source.queue} was ended")
            if not self._stopping:
                await consumer.step()
        met = sum(consumer.met for consumer in self._consumers)
        self._poison_log.look(self.suspected, met, self._deaths_known())

    async def _look(self, watching: Wire) -> None:
        await self._give_back_overdue()
        ready = await self._watch.look()
        for source in self._sources:
            ready[source.queue] = await measure(watching, source.queue)
        self.ready = ready
        if not self._stopping:
            self._prove()

    async def _give_back_overdue(self) -> None:
        """Return what would be held for too long by the next look, so that the bound is kept."""
        now = asyncio.get_running_loop().time()
        before = now - self._hold_seconds + _LOOK_SECONDS
        returned = sum([await consumer.give_back(before) for consumer in self._consumers])
        if returned:
            log.warning("returned_to_queue", reason="held too long", messages=returned)
            self._lost()

    def _prove(self) -> None:
        """Consumption is proved by deliveries, not by the absence of errors."""
        now = asyncio.get_running_loop().time()
        for consumer in self._consumers:
            queue = consumer.source.queue
            if consumer.starving(self.ready[queue], now, _STARVING_SECONDS):
                self.stalls[queue] += 1
                raise ConsumptionStalled(
                    f"{self.ready[queue]} messages wait in {queue}, and none was "
                    f"delivered for {_STARVING_SECONDS:g} s: the consumer is rebuilt"
                )
            if consumer.seen or not self.ready[queue]:
                self.stalls[queue] = 0
