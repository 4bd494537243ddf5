"""Manners on a broker that is somebody else's: enter only an empty house, and leave it so."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from worker.adapters.rabbitmq import declaration
from worker.adapters.rabbitmq.connection import address, bounded, connected
from worker.adapters.rabbitmq.topology import topology
from worker.core.exceptions import BrokerUnavailable
from worker.lab.demo.environment import DELAYS
from worker.lab.servers import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from aio_pika.abc import AbstractChannel, AbstractQueue

    from worker.adapters.rabbitmq.declaration import Row
    from worker.lab.demo.progress import Tell

_RPC_SECONDS: Final = 10.0
_LEAVING_SECONDS: Final = 30.0
_PREFETCH: Final = 1000
_REST_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1


class InUse(ServiceError):
    """The broker's queues are not ours to work on; the text says why and what to do."""


@asynccontextmanager
async def visiting(
    url: str, run: str, delays: Mapping[str, float], tell: Tell
) -> AsyncIterator[None]:
    """Be a guest until the block ends; then everything this run has brought is taken away.

    Args:
        url: The broker; its user may declare and delete.
        run: Every message id of this run begins with it.
        delays: The retry queues that others may use there, by name, with their seconds: what
            waits in them comes back into the lanes.
        tell: Told what could not be taken away.

    Raises:
        BrokerUnavailable: There is no connection.
        InUse: Messages or consumers are on the queues.
    """
    before = await declaration.show(url, topology({**delays, **DELAYS}))
    if busy := _busy(before):
        raise InUse(_refusal(url, busy))
    try:
        yield
    finally:
        try:
            async with asyncio.timeout(_LEAVING_SECONDS):
                await _leave(url, run, before)
        except (BrokerUnavailable, TimeoutError) as error:
            tell.say(f"messages, queues or exchanges of this run may be left behind: {error}")


async def left(url: str) -> dict[str, int]:
    """How many messages wait in each queue that is not empty.

    Raises:
        BrokerUnavailable: There is no connection.
        BrokerLost: It was lost on the way.
    """
    rows = await declaration.show(url, topology(DELAYS))
    return {row.name: row.messages for row in rows if row.messages}


def _busy(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.messages or row.consumers]


def _refusal(url: str, busy: Iterable[Row]) -> str:
    queues = "; ".join(
        f"{row.name}: messages {row.messages}, consumers {row.consumers}" for row in busy
    )
    return (
        f"The broker at {address(url)} is in use ({queues}). The demo would resolve what waits"
        " there with its simulator, so it leaves that broker alone. Unset WORKER_AMQP__URL for a"
        " private broker, or name one whose queues are empty and have no consumers."
    )


async def _leave(url: str, run: str, before: Sequence[Row]) -> None:
    async with connected(url, name="resolution-worker demo, leaving") as connection:
        channel = connection.channel()
        await bounded(channel.initialize(), _RPC_SECONDS)
        # The retry queues stand last: what runs out of them comes into the lanes.
        for row in reversed(before):
            if row.state == "missing":
                await _delete(channel, row)
            elif row.kind == "queue":
                await _take_away(channel, row.name, run)


async def _delete(channel: AbstractChannel, row: Row) -> None:
    """Delete what was not there before; that it is gone already is no fault."""
    if row.kind == "queue":
        await bounded(channel.queue_delete(row.name), _RPC_SECONDS)
    else:
        await bounded(channel.exchange_delete(row.name), _RPC_SECONDS)


async def _take_away(channel: AbstractChannel, name: str, run: str) -> None:
    """Take our own messages out of a queue that was there before.

    Those of others, which came meanwhile, go back when the channel closes.
    """
    queue, count = await _at_rest(channel, name)
    if not count:
        return
    await bounded(channel.set_qos(prefetch_count=_PREFETCH), _RPC_SECONDS)
    async with queue.iterator() as messages:
        for _ in range(count):
            message = await bounded(anext(messages), _RPC_SECONDS)
            if (message.message_id or "").startswith(f"{run}-"):
                await bounded(message.ack(), _RPC_SECONDS)


async def _at_rest(channel: AbstractChannel, name: str) -> tuple[AbstractQueue, int]:
    """A queue and its messages, once the broker has noticed that our workers are gone.

    Only then what they had in hand is in the queue again.
    """
    deadline = time.monotonic() + _REST_SECONDS
    while True:
        queue = await bounded(channel.declare_queue(name, passive=True), _RPC_SECONDS)
        found = queue.declaration_result
        if not found.consumer_count or time.monotonic() > deadline:
            return queue, found.message_count or 0
        await asyncio.sleep(_LOOK_SECONDS)
