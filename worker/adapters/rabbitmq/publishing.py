"""The publishing link: a supervised connection that always has a publisher, or is getting one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from worker.adapters.rabbitmq.connection import BrokerLost, connected, loss
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.supervision import supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.core.outgoing import Outgoing
    from worker.ports import NotConfirmed

_WAIT_SECONDS: Final = 10.0


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
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._up.wait()
        if self._publisher is None:
            return [BrokerLost("no connection to the broker to publish over")] * len(batch)
        return await self._publisher.publish_all(batch)

    async def _epoch(self) -> None:
        async with connected(self._url(), name="resolution-worker publish") as connection:
            self._publisher = await Publisher.open(connection)
            try:
                self._up.set()
                self._report(None)
                await asyncio.wait([self._publisher.closing])
                raise self._publisher.loss or loss(None)
            finally:
                self._up.clear()
                self._publisher = None
