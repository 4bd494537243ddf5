"""A plain connection to the broker, and the one place where its errors are translated.

The connection is not a robust one on purpose: aio-pika's own recovery never gets out of a
half-open handshake, has no jitter and hides channel epochs. Whoever opens a connection here
supervises it, and opens another when it is lost.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import aio_pika
from aiormq import exceptions as amqp
from yarl import URL

from worker.adapters.rabbitmq.connect_errors import HANDSHAKE_BROKEN, opening_fault, words
from worker.core.exceptions import BrokerLost, BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from aio_pika.abc import AbstractConnection

_T = TypeVar("_T")

# Without a handler, Python would write these libraries' warnings, tracebacks included, to standard
# error by itself. With one they still reach whatever logging the program has set up.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

OPEN_SECONDS: Final = 6.0  # a half-open handshake is given up in time to be back within 15 s
HEARTBEAT_SECONDS: Final = 10
"""The library's default of 60 s takes about three minutes to notice a dead peer."""
CLOSE_SECONDS: Final = 5.0

NOT_FOUND: Final = 404
ACCESS_REFUSED: Final = 403
RESOURCE_LOCKED: Final = 405
PRECONDITION_FAILED: Final = 406


class ChannelRefused(BrokerLost):
    """The broker closed the channel over what was asked: asking again alone mends nothing.

    Attributes:
        code: AMQP reply code, such as 404.
        words: The broker's own words, which name the object.
    """

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"{said}; {_REFUSAL_REMEDIES[code]}")
        self.code = code
        self.words = said


_REFUSAL_REMEDIES: Final[dict[int, str]] = {
    NOT_FOUND: "run `resolution-worker topology declare`",
    ACCESS_REFUSED: "grant the user that permission (see deploy/rabbitmq)",
    RESOURCE_LOCKED: "another connection holds it exclusively: end that one",
    PRECONDITION_FAILED: "see `resolution-worker topology show`",
}

_REFUSAL_CODES: Final[dict[type[BaseException], int]] = {
    amqp.ChannelNotFoundEntity: NOT_FOUND,
    amqp.ChannelAccessRefused: ACCESS_REFUSED,
    amqp.ChannelLockedResource: RESOURCE_LOCKED,
    amqp.ChannelPreconditionFailed: PRECONDITION_FAILED,
}


async def open_connection(
    url: str,
    *,
    name: str,
    timeout: float = OPEN_SECONDS,  # noqa: ASYNC109 - it bounds several steps and names its fault
    heartbeat: int = HEARTBEAT_SECONDS,
) -> AbstractConnection:
    """Open a plain connection.

    Args:
        url: `amqp://` or `amqps://` (the server's certificate is verified), with credentials.
        name: What the broker's management shows for it.
        timeout: Seconds for the whole handshake, name resolution included.
        heartbeat: Seconds; a silent peer is noticed after about three times this.

    Raises:
        BrokerUnavailable: With a message for an operator, free of credentials.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    try:
        async with asyncio.timeout(timeout):
            return await aio_pika.connect(
                url, client_properties={"connection_name": name}, heartbeat=heartbeat
            )
    except TimeoutError:
        fault = f"no answer within {timeout:g} s; is there a firewall or a broker under alarm?"
    except asyncio.CancelledError:
        if task.cancelling() > cancelled_before:
            raise
        fault = HANDSHAKE_BROKEN  # the library cancels whoever waits on a connection it loses
    except Exception as error:  # noqa: BLE001 - an odd URL or answer makes it raise anything
        fault = opening_fault(error)
    # Outside the handlers: the library's error, kept as context, could show the URL.
    if task.cancelling() > cancelled_before:
        raise asyncio.CancelledError  # which the library's error must not swallow
    raise BrokerUnavailable(f"broker at {address(url)}: {fault}")


@asynccontextmanager
async def connected(url: str, *, name: str) -> AsyncIterator[AbstractConnection]:
    """A connection for the length of a block, closed within a bound afterwards.

    Raises:
        BrokerUnavailable: It could not be opened.
    """
    connection = await open_connection(url, name=name)
    try:
        yield connection
    finally:
        await close_quietly(connection)


async def close_quietly(connection: AbstractConnection) -> None:
    """Close a connection whatever state it is in, within a bound."""
    try:
        await bounded(connection.close(), CLOSE_SECONDS)
    except BrokerLost:
        logging.getLogger(__name__).debug("a connection was lost while it was being closed")


async def bounded(awaitable: Awaitable[_T], seconds: float) -> _T:
    """Wait for the broker, but not for ever, and for one kind of error only.

    When a connection is lost, the libraries cancel what waits on it: a bare `CancelledError`
    arrives in a task that nobody cancelled. Here it becomes what it is; a genuine cancellation
    travels on. An odd answer makes the libraries raise anything, KeyError say: that is a loss too.

    Args:
        awaitable: A call of the libraries, and nothing of our own.
        seconds: How long to wait.

    Raises:
        BrokerLost: Connection or channel went, or no answer came in time.
        ChannelRefused: The broker closed the channel over what was asked.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise BrokerLost(f"no answer from the broker within {seconds:g} s") from None
    except asyncio.CancelledError as error:
        if task.cancelling() > cancelled_before:
            raise
        raise loss(error) from error
    except Exception as error:
        # Both at once: the library's error must not swallow somebody's cancellation.
        if task.cancelling() > cancelled_before:
            raise asyncio.CancelledError from error
        raise loss(error) from error


def loss(error: BaseException | None) -> BrokerLost:
    """The one kind of error, made of whatever a library gave as the reason of a loss."""
    for kind, code in _REFUSAL_CODES.items():
        if isinstance(error, kind):
            return ChannelRefused(code, words(error))
    if error is None or isinstance(error, asyncio.CancelledError):
        return BrokerLost("connection to the broker lost")
    return BrokerLost(f"connection to the broker lost ({words(error)})")


def user_of(url: str) -> str:
    """The user as whom a broker's URL signs in, decoded as the library decodes it."""
    return URL(url).user or "guest"


def address(url: str) -> str:
    """Host and port of a broker's URL, and nothing else of it."""
    try:
        parsed = URL(url)
        port = parsed.port or (5671 if parsed.scheme == "amqps" else 5672)
        host = parsed.host  # decoded only now
    except ValueError:
        return "an address that can't be read"
    return f"{host}:{port}"
