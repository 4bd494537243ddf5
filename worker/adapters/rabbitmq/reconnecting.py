"""One life of a connection after another, with a jittered wait between them."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

import structlog

from worker.adapters.rabbitmq.connect_errors import URL, with_setting
from worker.adapters.rabbitmq.connection import bounded, loss
from worker.core import backoff
from worker.core.exceptions import BrokerLost, BrokerUnavailable, SetupFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel as Wire

log: Final = structlog.get_logger()

_STEADY_SECONDS: Final = 5.0  # longer, and faults a minute apart would add up to the longest wait
_OPEN_SECONDS: Final = 10.0


class TopologyMissing(SetupFault):
    """Exchanges or queues are not there; the message names them and the command that helps."""


async def supervise(
    name: str, epoch: Callable[[], Awaitable[None]], report: Callable[[str | None], None]
) -> None:
    """Run one epoch after another until one ends by returning, or until cancelled.

    Args:
        name: For the log.
        epoch: One life of a connection; a loss ends it by raising.
        report: Told why the link is down. The epoch itself reports that it is up.
    """
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        try:
            await epoch()
        except BrokerLost as error:
            # Only a connection that was there can have been steady: a handshake may be long too.
            steady = loop.time() - began > _STEADY_SECONDS
            failures, reason = 1 if steady else failures + 1, str(error)
        except BrokerUnavailable as error:
            failures, reason = failures + 1, with_setting(error, URL)
        except SetupFault as error:
            failures, reason = failures + 1, str(error)
        else:
            return
        delay = backoff.RECONNECT.delay(failures, random.random())  # noqa: S311 - spread
        report(reason)
        log.warning("broker_link_down", link=name, reason=reason, again_in_seconds=round(delay, 2))
        await asyncio.sleep(delay)


async def open_wire(connection: AbstractConnection) -> Wire:
    """A new channel without confirms, as aiormq has it: at half the CPU of aio-pika's.

    Raises:
        BrokerLost: It could not be opened.
    """
    return await bounded(_opened(connection), _OPEN_SECONDS)


async def _opened(connection: AbstractConnection) -> Wire:
    channel = connection.channel(publisher_confirms=False)
    await channel.initialize()
    return await channel.get_underlay_channel()


def why_closed(wire: Wire) -> BrokerLost:
    """The reason for which a channel is closed."""
    closing = wire.closing
    done = closing.done() and not closing.cancelled()
    return loss(closing.exception() if done else None)
