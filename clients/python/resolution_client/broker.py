"""Calls of the AMQP library, with a time limit and one kind of error."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Final, TypeVar

import aio_pika
from aiormq import exceptions as amqp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from aio_pika.abc import AbstractChannel, AbstractConnection

    from resolution_client.address import Address

_T = TypeVar("_T")

HOST_SECONDS: Final = 3.0
RPC_SECONDS: Final = 5.0
HEARTBEAT_SECONDS: Final = 10
"""The library's own minute takes three to notice a dead peer."""


class Lost(Exception):
    """Connection or channel are gone, or the broker is silent."""


class Refused(Lost):
    """The broker refuses what was asked; asking again alone mends nothing.

    Attributes:
        code: Of AMQP: 403 no right, 404 missing, 406 declared otherwise; 0 another.
    """

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


class _Connection(aio_pika.Connection):
    def __del__(self) -> None:
        """Do nothing: the library would start a task, in whatever thread the collector runs."""


async def connect(address: Address, name: str) -> AbstractConnection:
    """Connect to the first host that answers, in random order.

    Raises:
        Lost: With what each host did.
    """
    faults = []
    for url in address.in_random_order():
        try:
            return await asked(_connect(url, name), HOST_SECONDS)
        except Lost as lost:
            faults.append(str(lost))
    raise Lost(f"broker at {address.place}: {'; '.join(dict.fromkeys(faults))}")


async def _connect(url: str, name: str) -> AbstractConnection:
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    connection = await aio_pika.connect(
        url,
        connection_class=_Connection,
        heartbeat=HEARTBEAT_SECONDS,
        client_properties={"connection_name": name},
    )
    if task.cancelling() > cancelled_before:  # nobody gets it, see `asked`
        await connection.close()
    return connection


async def open_channel(connection: AbstractConnection, *, confirms: bool) -> AbstractChannel:
    """Open a channel; with `confirms`, what is published and can't be routed is an error.

    Raises:
        Lost: It could not be opened.
    """
    return await asked(_channel(connection, confirms=confirms))


async def _channel(connection: AbstractConnection, *, confirms: bool) -> AbstractChannel:
    channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
    await channel.initialize()
    return channel


async def asked(call: Awaitable[_T], seconds: float = RPC_SECONDS) -> _T:
    """Wait for the broker's answer.

    The library cancels what waits on a connection that it loses: a bare `CancelledError` arrives in
    a task that nobody cancelled. A genuine cancellation travels on, also one that
    `asyncio.wait_for`, which the library uses, has swallowed (Python 3.11, if the answer comes at
    the same moment).

    Raises:
        Lost: There is none; `Refused` where the broker says why. The library's error is not kept as
            a context: it can hold a message.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    try:
        async with asyncio.timeout(seconds):
            answer = await call
        if task.cancelling() == cancelled_before:
            return answer
        lost = Lost("cancelled")
    except TimeoutError:
        lost = Lost(f"no answer within {seconds:.1f} s")
    except asyncio.CancelledError:
        lost = Lost("the connection was lost")
    except Exception as error:  # noqa: BLE001 - an odd answer makes the library raise anything
        lost = translated(error)
    if task.cancelling() > cancelled_before:
        raise asyncio.CancelledError  # anew: the library's frames in it hold what is published
    raise lost


def translated(error: BaseException | None) -> Lost:
    """What the library gives as the reason of a loss, as an error of ours without it."""
    for kind, (code, remedy) in _REFUSALS.items():
        if isinstance(error, kind):
            return Refused(code, f"{error}; {remedy}")
    for cause in _chain(error):
        for kind, words in _WORDS:
            if isinstance(cause, kind):
                return Lost(words)
    named = "" if error is None else f" ({type(error).__name__})"
    return Lost(f"the connection was lost{named}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was made of."""
    while error is not None:
        yield error
        error = error.__cause__


_REFUSALS: Final[dict[type[BaseException], tuple[int, str]]] = {
    amqp.ChannelNotFoundEntity: (404, "the worker's `topology declare` has not been run"),
    amqp.ChannelPreconditionFailed: (406, "it was declared otherwise"),
    amqp.ChannelAccessRefused: (403, "give this broker user a caller's rights"),
    amqp.ChannelClosed: (0, "the broker closed the channel"),
}
_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (amqp.ProbableAuthenticationError, "user, password or virtual host are refused"),
    (amqp.AuthenticationError, "the broker offers no login that is supported"),
    (amqp.PublishError, "no queue takes it: the worker's `topology declare` has not been run"),
    (amqp.DeliveryError, "the broker refuses it: the queue is full, or a node is down"),
    (ssl.SSLCertVerificationError, "the broker's certificate is not trusted"),
    (ssl.SSLError, "no encrypted connection could be made: is it the port for TLS?"),
    (socket.gaierror, "its name can't be resolved"),
    (ConnectionRefusedError, "connection refused"),
)
