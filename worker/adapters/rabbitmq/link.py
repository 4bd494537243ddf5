"""Supervised links to the broker: one that consumes, one that publishes, each reconnecting.

Consuming and publishing have connections of their own: a broker under alarm stops reading from
connections that publish, and acks must still get through.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from worker.adapters.rabbitmq import consumer as consuming
from worker.adapters.rabbitmq.connection import BrokerLost, BrokerUnavailable, bounded, connected
from worker.adapters.rabbitmq.consumer import BrokerDelivery, Consumer, ConsumerCancelled, Zombie
from worker.adapters.rabbitmq.declaration import missing
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core import backoff
from worker.ports import NotConfirmed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel as Wire

    from worker.adapters.rabbitmq.consumer import Source
    from worker.adapters.rabbitmq.topology import Topology
    from worker.core.outgoing import Outgoing

log: Final = structlog.get_logger()

_LOOK_SECONDS: Final = 5.0
_STARVING_SECONDS: Final = 15.0
_ZOMBIES_BEFORE_FAILING: Final = 3
_STEADY_SECONDS: Final = 30.0
_PUBLISHER_WAIT_SECONDS: Final = 10.0
_RPC_SECONDS: Final = 10.0


class TopologyMissing(Exception):  # noqa: N818 - a state of the world
    """Exchanges or queues are not there; the message names them and the command that helps."""


async def supervise(
    name: str, epoch: Callable[[], Awaitable[None]], report: Callable[[str | None], None]
) -> None:
    """Run one epoch after another, with a jittered wait between them, until cancelled.

    Args:
        name: For the log.
        epoch: One life of a connection; it ends by raising.
        report: Told why the link is down. The epoch itself reports that it is up.
    """
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        try:
            await epoch()
        except (BrokerUnavailable, NotConfirmed, TopologyMissing) as error:
            reason = str(error)
        else:
            return
        failures = 1 if loop.time() - began > _STEADY_SECONDS else failures + 1
        delay = backoff.RECONNECT.delay(failures, random.random())  # noqa: S311 - spread
        report(reason)
        log.warning("broker_link_down", link=name, reason=reason, again_in_seconds=round(delay, 2))
        await asyncio.sleep(delay)


class ConsumingLink:
    """Consumes its sources, and goes on doing so, whatever becomes of the connection.

    Args:
        url: Asked for at each new connection.
        topology: What must be there before anything is consumed.
        sources: What to consume.
        watched: Further queues whose length is measured.
        deliver: Called with each delivery.
        lost: Called when an epoch is over: none of its deliveries is alive any more.
        report: Called with why nothing is consumed, or None once it is.

    Attributes:
        ready: Messages waiting, by queue, as last measured.
        zombies: How often in a row consuming was found to stand still.
    """

    def __init__(
        self,
        url: Callable[[], str],
        topology: Topology,
        sources: Sequence[Source],
        *,
        watched: Sequence[str],
        deliver: Callable[[BrokerDelivery], None],
        lost: Callable[[], None],
        report: Callable[[str | None], None],
    ) -> None:
        self._url = url
        self._topology = topology
        self._sources = sources
        self._watched = watched
        self._deliver = deliver
        self._lost = lost
        self._report = report
        self._consumers: list[Consumer] = []
        self._stopping = asyncio.Event()
        self.ready: dict[str, int] = {}
        self.zombies = 0

    @property
    def stands_still(self) -> bool:
        """Whether consuming was rebuilt several times, and still hands out nothing."""
        return self.zombies >= _ZOMBIES_BEFORE_FAILING

    async def run(self) -> None:
        """Consume until `stop`, then until cancelled keep the channels for the last acks."""
        await supervise("consume", self._epoch, self._report)

    async def stop(self) -> None:
        """Be handed nothing more. What was handed out may still be acked."""
        self._stopping.set()
        with suppress(BrokerLost):
            for consumer in self._consumers:
                await consuming.end(consumer)

    async def settle(self) -> None:
        """Make sure that the broker has read the last acks: one answered call behind them."""
        with suppress(BrokerLost):
            for consumer in self._consumers:
                await consuming.measure(consumer.wire, consumer.source.queue)

    async def _epoch(self) -> None:
        if self._stopping.is_set():
            return
        async with connected(self._url(), name="resolution-worker consume") as connection:
            await self._check_topology(connection)
            watching = await _wire(connection)
            try:
                for source in self._sources:
                    consumer = await consuming.begin(connection, source, self._deliver)
                    self._consumers.append(consumer)
                self._report(None)
                log.info("consuming", queues=[source.queue for source in self._sources])
                await self._watch(watching)
            finally:
                self._end_epoch()

    async def _check_topology(self, connection: AbstractConnection) -> None:
        absent = await missing(connection, self._topology)
        if absent:
            raise TopologyMissing(
                f"missing on the broker: {', '.join(absent)}; "
                "run `resolution-worker topology declare`"
            )

    def _end_epoch(self) -> None:
        for consumer in self._consumers:
            consumer.alive = False
        self._consumers = []
        self._lost()

    async def _watch(self, watching: Wire) -> None:
        """Look after the consumers until one of them is of no use any more."""
        while True:
            await self._until_something_ends(_LOOK_SECONDS, watching)
            for queue in self._watched:
                self.ready[queue] = await consuming.measure(watching, queue)
            for consumer in self._consumers:
                consumer.ready = await consuming.measure(watching, consumer.source.queue)
                self.ready[consumer.source.queue] = consumer.ready
            if not self._stopping.is_set():
                self._prove()

    def _prove(self) -> None:
        """Consumption is proved by deliveries, not by the absence of errors."""
        now = asyncio.get_running_loop().time()
        for consumer in self._consumers:
            if consumer.starving(now, _STARVING_SECONDS):
                self.zombies += 1
                raise Zombie(
                    f"{consumer.ready} messages wait in {consumer.source.queue}, and none was "
                    f"delivered for {_STARVING_SECONDS:g} s: the consumer is rebuilt"
                )
            if consumer.unacked:
                self.zombies = 0

    async def _until_something_ends(self, seconds: float, watching: Wire) -> None:
        """Wait, but not beyond the loss of a channel or a consumer."""
        cancelled = [asyncio.create_task(consumer.cancelled.wait()) for consumer in self._consumers]
        closing = [watching.closing, *(consumer.wire.closing for consumer in self._consumers)]
        try:
            await asyncio.wait(
                [*closing, *cancelled], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in cancelled:
                task.cancel()
        for wire in (watching, *(consumer.wire for consumer in self._consumers)):
            if wire.closing.done():
                raise consuming.why_closed(wire)
        for consumer in self._consumers:
            if consumer.cancelled.is_set():
                raise ConsumerCancelled(f"the consumer of {consumer.source.queue} was ended")


class PublishingLink:
    """Publishes with confirms over whatever connection there is; see `worker.ports.Courier`.

    Args:
        url: Asked for at each new connection.
        report: Called with why nothing can be published, or None once it can.
    """

    def __init__(self, url: Callable[[], str], report: Callable[[str | None], None]) -> None:
        self._url = url
        self._report = report
        self._publisher: Publisher | None = None
        self._up = asyncio.Event()

    async def run(self) -> None:
        """Keep a publisher open until cancelled."""
        await supervise("publish", self._epoch, self._report)

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[NotConfirmed | None]:
        """Publish a batch, waiting a while for a broker that is away."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PUBLISHER_WAIT_SECONDS):
                await self._up.wait()
        if self._publisher is None:
            return [BrokerLost("no connection to the broker to publish over")] * len(batch)
        return await self._publisher.publish_all(batch)

    async def _epoch(self) -> None:
        async with connected(self._url(), name="resolution-worker publish") as connection:
            self._publisher = await Publisher.open(connection)
            watching = await _wire(connection)
            try:
                self._up.set()
                self._report(None)
                await self._until_closed(watching)
            finally:
                self._up.clear()
                self._publisher = None

    async def _until_closed(self, watching: Wire) -> None:
        assert self._publisher is not None
        publishing = self._publisher.closing
        await asyncio.wait([watching.closing, publishing], return_when=asyncio.FIRST_COMPLETED)
        raise self._publisher.loss or consuming.why_closed(watching)


async def _wire(connection: AbstractConnection) -> Wire:
    channel = connection.channel(publisher_confirms=False)
    await bounded(channel.initialize(), _RPC_SECONDS)
    return await channel.get_underlay_channel()
