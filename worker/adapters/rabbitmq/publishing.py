"""The publishing link: a supervised connection that always has a publisher, or is getting one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from worker.adapters.rabbitmq.connection import connected, loss
from worker.adapters.rabbitmq.publish_health import DOUBT_SECONDS, PublishHealth
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.reconnecting import supervise
from worker.adapters.rabbitmq.rights import explaining
from worker.core.exceptions import BrokerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aio_pika.abc import AbstractConnection

    from worker.core.token.outgoing import Outgoing
    from worker.ports import PublishFailure, PublishResult

log: Final = structlog.get_logger()

_WAIT_SECONDS: Final = 10.0


class PublishingLink:
    """Publishes with confirms over whatever connection there is (`ports.ConfirmedPublisher`).

    A connection alone does not make it fit: after a move that was not confirmed it is unfit until
    one is. While the broker is under alarm, what was sent is waited for, for as long as the
    connection lasts: on another one it would only be sent a second time.

    Args:
        url: Asked for at each new connection.
        report: Called with why nothing can be published, or None once it can.
        retries: The retry queues, which it must be allowed to use.

    Attributes:
        connections: How many were opened.
    """

    def __init__(
        self,
        url: Callable[[], str],
        report: Callable[[str | None], None],
        retries: Sequence[str] = (),
    ) -> None:
        self._url = url
        self._report = report
        self._retries = retries
        self._publisher: Publisher | None = None
        self._connection: AbstractConnection | None = None
        self.connections = 0
        self._up = asyncio.Event()
        self._down: str | None = "no connection to the broker to publish over"
        self._alarm: str | None = None
        self._health = PublishHealth()
        self._look: asyncio.TimerHandle | None = None

    @property
    def connection(self) -> AbstractConnection | None:
        """What it publishes over; None while there is none, or the broker is under alarm."""
        return None if self._alarm else self._connection

    async def run(self) -> None:
        """Keep a publisher open until cancelled."""
        try:
            await supervise("publish", self._epoch, self._went_down)
        finally:
            if self._look is not None:
                self._look.cancel()

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[PublishResult]:
        """Publish a batch, waiting a while for a broker that is away."""
        self._health.begun(batch)
        try:
            results = await self._send(batch)
        except BaseException:
            self._health.left(batch)
            raise
        now = asyncio.get_running_loop().time()
        for message, result in zip(batch, results, strict=True):
            if isinstance(result, asyncio.Future):
                result.add_done_callback(partial(self._ended_late, message))
            else:
                self._health.ended(message, result, now)
        self._tell()
        return results

    def _ended_late(self, message: Outgoing, result: asyncio.Future[PublishFailure | None]) -> None:
        now = asyncio.get_running_loop().time()
        self._health.ended(message, result.result(), now)
        self._tell()

    async def _send(self, batch: Sequence[Outgoing]) -> Sequence[PublishResult]:
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._up.wait()
        if self._publisher is None:
            return [BrokerLost("no connection to the broker to publish over")] * len(batch)
        return await self._publisher.send(batch)

    async def _epoch(self) -> None:
        url = self._url()
        async with (
            connected(url, name="resolution-worker publish") as connection,
            explaining(connection, url, self._retries),
        ):
            self.connections += 1
            self._publisher = await Publisher.open(connection, alarmed=self._alarmed)
            try:
                self._connection = connection
                self._up.set()
                self._down = None
                self._tell()
                await asyncio.wait([self._publisher.closing])
                raise self._publisher.loss or loss(None)
            finally:
                self._up.clear()
                self._publisher = self._connection = self._alarm = None

    def _went_down(self, reason: str | None) -> None:
        self._down = reason
        self._tell()

    def _alarmed(self, reason: str | None) -> None:
        self._alarm = reason
        if reason is None:
            log.info("broker_alarm_over")
        else:
            log.warning("broker_alarm", reason=reason)
        self._tell()

    def _tell(self) -> None:
        """Report the one reason that says most, and look again where one goes by itself."""
        loop = asyncio.get_running_loop()
        doubt = self._health.doubt(loop.time())
        self._report(self._alarm or self._down or doubt)
        if self._look is not None:
            self._look.cancel()
        self._look = loop.call_later(DOUBT_SECONDS / 4, self._tell) if doubt else None
