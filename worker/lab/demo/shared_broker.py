"""A broker that is not the demo's own: it must be idle, and is left as it was."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from worker.adapters.rabbitmq import declaration
from worker.adapters.rabbitmq.connection import address, bounded, connected
from worker.adapters.rabbitmq.topology import topology
from worker.core.exceptions import BrokerUnavailable
from worker.lab.servers import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from aio_pika.abc import AbstractChannel, AbstractQueue

    from worker.adapters.rabbitmq.declaration import Row
    from worker.lab.demo.progress import Progress

DELAYS: Final = {"1s": 1.0, "2s": 2.0}
"""The demo's retry queues, by name, with their seconds."""

_RPC_SECONDS: Final = 10.0
_CLEANING_SECONDS: Final = 30.0
_PREFETCH: Final = 1000
_REST_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1


@asynccontextmanager
async def borrowed(
    url: str, run: str, delays: Mapping[str, float], progress: Progress
) -> AsyncIterator[None]:
    """Use a broker until the block ends; then everything this run has added is taken away.

    Args:
        url: The broker; its user may declare and delete.
        run: Every message id of this run begins with it.
        delays: The retry queues that others may use there, by name, with their seconds: what
            waits in them comes back into the lanes.
        progress: Gets what could not be taken away.

    Raises:
        BrokerUnavailable: There is no connection.
        ServiceError: Messages or consumers are on the queues; the text says what to do.
    """
    before = await declaration.show(url, topology({**delays, **DELAYS}))
    _check_idle(url, before)
    try:
        yield
    finally:
        try:
            async with asyncio.timeout(_CLEANING_SECONDS):
                await _clean(url, run, before)
        except (BrokerUnavailable, TimeoutError) as error:
            kept = "messages, queues or exchanges of this run may be left behind"
            progress.event(f"{kept}: {error}")


async def left(url: str) -> dict[str, int]:
    """How many messages wait in each queue that is not empty.

    Raises:
        BrokerUnavailable: There is no connection.
        BrokerLost: It was lost on the way.
    """
    rows = await declaration.show(url, topology(DELAYS))
    return {row.name: row.messages for row in rows if row.messages}


def _check_idle(url: str, rows: Sequence[Row]) -> None:
    queues = "; ".join(
        f"{row.name}: messages {row.messages}, consumers {row.consumers}"
        for row in rows
        if row.messages or row.consumers
    )
    if queues:
        raise ServiceError(
            f"The broker at {address(url)} is in use ({queues}). The demo would resolve what waits"
            " there with its simulator, so it leaves that broker alone. Unset WORKER_AMQP__URL for"
            " a private broker, or name one whose queues are empty and have no consumers."
        )


async def _clean(url: str, run: str, before: Sequence[Row]) -> None:
    async with connected(url, name="resolution-worker demo, cleaning") as connection:
        channel = connection.channel()
        await bounded(channel.initialize(), _RPC_SECONDS)
        # Last to first: what expires in the retry queues, the last ones, comes into the lanes.
        for row in reversed(before):
            if row.state != "missing":
                if row.kind == "queue":
                    await _take_away(channel, row.name, run)
            elif row.kind == "queue":
                await bounded(channel.queue_delete(row.name), _RPC_SECONDS)
            else:
                await bounded(channel.exchange_delete(row.name), _RPC_SECONDS)


async def _take_away(channel: AbstractChannel, name: str, run: str) -> None:
    """Take this run's messages out of a queue that was there before.

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
    """A queue and its messages, once the broker has noticed that the workers are gone.

    Only then the messages that they had not acknowledged are in the queue again.
    """
    deadline = time.monotonic() + _REST_SECONDS
    while True:
        queue = await bounded(channel.declare_queue(name, passive=True), _RPC_SECONDS)
        found = queue.declaration_result
        if not found.consumer_count or time.monotonic() > deadline:
            return queue, found.message_count or 0
        await asyncio.sleep(_LOOK_SECONDS)
