"""What the broker says to a published message, and waiting for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiormq import exceptions as amqp

from worker.adapters.rabbitmq.connection import loss
from worker.core.exceptions import BrokerLost, Refused, Unroutable

if TYPE_CHECKING:
    from worker.core.token.outgoing import Outgoing
    from worker.ports import PublishFailure


def result_of(message: Outgoing, confirmation: asyncio.Future[Any]) -> PublishFailure | None:
    """What became of a message whose confirmation is done: None if it was published."""
    # The library's error is no cause of ours: it holds the message, and so the token.
    match confirmation.exception():
        case None:
            return None
        case BrokerLost() as lost:
            return lost
        case amqp.PublishError():
            return Unroutable(
                f"no queue is bound to exchange {message.exchange} under the key "
                f"{message.routing_key}; run `resolution-worker topology declare`"
            )
        case amqp.DeliveryError():
            return Refused("the broker refused it: the queue is full, or has no leader just now")
        case error:
            return loss(error)


async def settled(future: asyncio.Future[Any]) -> None:
    """Wait until a future is done, without ever cancelling it or raising what it holds."""
    if future.done():
        return
    waiter = asyncio.get_running_loop().create_future()

    def wake(_: asyncio.Future[Any]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(wake)
    await waiter
