"""Looking at a broker without changing anything on it: who it is, how full, what one may do.

Rights can't be asked for over AMQP, only tried. Each is tried with a request that RabbitMQ refuses
for its contents after it has looked at the rights: 406 says that the right is there, 403 that it
is not. So nothing is ever consumed or published.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pamqp.commands import Basic

from worker.adapters.rabbitmq.connection import (
    ACCESS_REFUSED,
    ChannelRefused,
    bounded,
    close_quietly,
    open_connection,
    user_of,
)
from worker.core.addresses.amqp import read
from worker.core.exceptions import BrokerLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel as Wire
    from pamqp.common import Arguments

    from worker.adapters.rabbitmq.topology import Exchange

_RPC_SECONDS: Final = 4.0
_CLOSE_SECONDS: Final = 1.0
_CHECK_KEY: Final = "resolution-worker.check"


@dataclass(frozen=True, slots=True)
class Server:
    """Who answers: `RabbitMQ` and its version, as it says itself."""

    product: str
    version: str


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a queue is.

    Attributes:
        ready: Messages that wait, or None where the broker does not tell.
        consumers: Who takes from it, or None likewise.
        fault: Why the broker does not tell.
        unacked: Messages that are delivered and not acked; None where nobody tells.
    """

    queue: str
    ready: int | None
    consumers: int | None
    fault: str = ""
    unacked: int | None = None


@asynccontextmanager
async def looking(url: str, *, name: str, seconds: float) -> AsyncIterator[AbstractConnection]:
    """A connection for a look, opened within `seconds` and closed without much ado.

    Raises:
        BrokerUnavailable: It could not be opened.
    """
    connection = await open_connection(url, name=name, timeout=seconds)
    try:
        yield connection
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await close_quietly(connection)


def server(connection: AbstractConnection) -> Server:
    """Who answers there."""
    said = getattr(getattr(connection.transport, "connection", None), "server_properties", {})
    return Server(*(_word(said.get(key)) for key in ("product", "version")))


def _word(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "unknown")


def who_and_where(url: str) -> tuple[str, str]:
    """User and virtual host of a broker's URL."""
    return user_of(url) or "the user of the client's certificate", read(url).vhost


async def depths(connection: AbstractConnection, queues: Iterable[str]) -> list[Depth]:
    """How full queues are.

    Raises:
        BrokerLost: The connection was lost on the way.
    """
    return [await _depth(connection, queue) for queue in queues]


async def _depth(connection: AbstractConnection, queue: str) -> Depth:
    try:
        async with _wire(connection) as wire:
            found = await bounded(wire.queue_declare(queue, passive=True), _RPC_SECONDS)
    except ChannelRefused as refusal:
        return Depth(queue, None, None, refusal.words)
    return Depth(queue, found.message_count, found.consumer_count)


NO_MAJORITY: Final = (
    "the broker shows its queues, but does not let them be read: its node has probably lost the "
    "majority of its cluster, and what it shows may be wrong. Bring the other nodes back; "
    "`rabbitmq-queues quorum_status resolution.tokens` shows them"
)
"""For queues that are not readable."""


async def readable(connection: AbstractConnection, queues: Iterable[Depth]) -> bool:
    """Whether queues can be read at all, for which a node needs a majority of its cluster.

    Without one it answers every other question, with old figures or as if a queue were empty. One
    that shows as empty is tried, so that nothing is taken; what comes meanwhile is handed back.

    Returns:
        True also where that can't be tried.
    """
    empty = next((each.queue for each in queues if each.ready == 0), None)
    if empty is None:
        return True
    try:
        async with _wire(connection) as wire:
            taken = await bounded(wire.basic_get(empty), _RPC_SECONDS)
            if isinstance(taken.delivery, Basic.GetOk):
                tag = taken.delivery.delivery_tag or 0
                await bounded(wire.basic_nack(tag, requeue=True, wait=False), _RPC_SECONDS)
    except ChannelRefused:
        return True
    except BrokerLost:
        return False
    return True


async def may_read(connection: AbstractConnection, queue: str) -> bool:
    """Whether the user of a connection may consume a queue. Consumes nothing.

    Raises:
        BrokerLost: The connection was lost on the way, or the broker fell silent.
    """

    async def consume(wire: Wire) -> object:
        # A priority that is no number: refused once the right to read is seen to be there.
        arguments: Arguments = {"x-priority": "none"}
        return await wire.basic_consume(queue, _ignore, arguments=arguments)

    return await _may(connection, consume)


async def may_write(connection: AbstractConnection, exchange: str, key: str = _CHECK_KEY) -> bool:
    """Whether the user may publish to an exchange; "" is the default one. Publishes nothing.

    Args:
        connection: The user's.
        exchange: The exchange.
        key: A routing key, which counts where rights on topics are given.

    Raises:
        BrokerLost: As above; a broker under a memory or disk alarm is silent to publishers.
    """

    async def publish(wire: Wire) -> object:
        # An expiration that is no number: refused once the right to write is seen to be there.
        properties = Basic.Properties(expiration="none")
        return await wire.basic_publish(
            b"", exchange=exchange, routing_key=key, properties=properties
        )

    return await _may(connection, publish)


async def may_declare(connection: AbstractConnection, exchange: Exchange) -> bool:
    """Whether the user may declare an exchange, which must be there already.

    Raises:
        BrokerLost: As above.
    """
    return await _may(
        connection,
        lambda wire: wire.exchange_declare(
            exchange.name, exchange_type=exchange.kind, durable=True
        ),
    )


async def _may(
    connection: AbstractConnection, request: Callable[[Wire], Awaitable[object]]
) -> bool:
    try:
        async with _wire(connection) as wire:
            await bounded(request(wire), _RPC_SECONDS)
    except ChannelRefused as refusal:
        return refusal.code != ACCESS_REFUSED
    return True


@asynccontextmanager
async def _wire(connection: AbstractConnection) -> AsyncIterator[Wire]:
    """A channel of one's own: a refusal closes it."""
    channel = connection.channel(publisher_confirms=True)
    await bounded(channel.initialize(), _RPC_SECONDS)
    try:
        yield await channel.get_underlay_channel()
    finally:
        if not channel.is_closed:
            with suppress(BrokerLost):
                await bounded(channel.close(), _CLOSE_SECONDS)


async def _ignore(_: object) -> None:
    """Is never given anything."""
