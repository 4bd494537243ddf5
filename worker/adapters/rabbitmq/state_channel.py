"""Tells callers how calls stand: transient messages on a channel beside the confirmed publishes.

Each says what the next one says anew, so nobody waits for a confirmation, none is sent twice, and
none while the broker holds publishers back. What the broker refuses closes this channel alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog
from pamqp.commands import Basic

from worker.adapters.rabbitmq.connection import ChannelRefused, bounded
from worker.adapters.rabbitmq.framing import CONTENT_TYPE
from worker.adapters.rabbitmq.reconnecting import open_wire, why_closed
from worker.adapters.rabbitmq.topology import STATE
from worker.core.exceptions import BrokerLost
from worker.core.token.calls_state import EXPIRY_SECONDS

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel as Wire

    from worker.adapters.rabbitmq.publishing import PublishingLink

log: Final = structlog.get_logger()

_SEND_SECONDS: Final = 1.0
_REFUSED_SECONDS: Final = 10.0  # each refusal is a line in the broker's log
_TOLD_SECONDS: Final = 60.0
_TRANSIENT: Final = 1


class StateChannel:
    """Sends over the publishing link's connection, whichever that is.

    Args:
        link: Who has the connection.
        name: The replica's name, as the property `app_id` gives it.

    Attributes:
        fault: Why the broker does not take what is sent; None while it does.
    """

    def __init__(self, link: PublishingLink, name: str) -> None:
        self._link = link
        self._name = name
        self._connection: AbstractConnection | None = None
        self._wire: Wire | None = None
        self._resting_until = float("-inf")
        self._told_at = float("-inf")
        self.fault: str | None = None

    async def send(self, body: bytes) -> None:
        """Send, if anything can be sent at the moment; never raises for what the broker does."""
        connection = self._link.connection
        if connection is None or asyncio.get_running_loop().time() < self._resting_until:
            return
        try:
            wire = await self._opened(connection)
            await bounded(self._publish(wire, body), _SEND_SECONDS)
        except BrokerLost as lost:
            if self._wire is not None and self._wire.is_closed:
                self._wire = None
            self._failed(lost)

    async def _opened(self, connection: AbstractConnection) -> Wire:
        """A channel on this connection: the last one, if the broker took what was sent over it."""
        if self._wire is not None and connection is self._connection:
            if self._wire.is_closed:
                raise why_closed(self._wire)
            self.fault = None
            return self._wire
        self._connection = connection
        self._wire = await open_wire(connection)
        return self._wire

    async def _publish(self, wire: Wire, body: bytes) -> None:
        properties = Basic.Properties(
            content_type=CONTENT_TYPE,
            delivery_mode=_TRANSIENT,
            expiration=str(round(EXPIRY_SECONDS * 1000)),
            app_id=self._name,
        )
        await wire.basic_publish(body, exchange=STATE, routing_key="", properties=properties)

    def _failed(self, lost: BrokerLost) -> None:
        """Rest after a refusal, and say so; a connection that was lost is told by its link."""
        if not isinstance(lost, ChannelRefused):
            return
        now = asyncio.get_running_loop().time()
        self.fault = str(lost)
        self._resting_until = now + _REFUSED_SECONDS
        if now - self._told_at >= _TOLD_SECONDS:
            self._told_at = now
            log.warning("state_not_sent", reason=self.fault, consequence=_CONSEQUENCE)


_CONSEQUENCE: Final = "callers who hear nothing of this worker take it for stopped"
