"""A plain connection to the broker, and the one place where its errors are translated.

The connection is not a robust one on purpose: aio-pika's own recovery never gets out of a
half-open handshake, has no jitter and hides channel epochs. Whoever opens a connection here
supervises it, and opens another when it is lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import aio_pika
from aio_pika.abc import ConnectionParameter
from aiormq import exceptions as amqp
from yarl import URL

from worker.adapters.rabbitmq.connect_errors import opening_faults, words, words_of_url
from worker.adapters.racing import NoneSucceeded, addresses_of, first_of
from worker.adapters.tls_files import trusting
from worker.core.addresses.amqp import read
from worker.core.addresses.text import Host
from worker.core.exceptions import BrokerLost, BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping

    from aio_pika.abc import AbstractConnection

    from worker.core.addresses.amqp import BrokerAddress

_T = TypeVar("_T")

# Without a handler, Python would write these libraries' warnings, tracebacks included, to standard
# error by itself. With one they still reach whatever logging the program has set up.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
# Whoever asked for a connection tells why there is none; if another host answers, it is no fault.
logging.getLogger("aiormq.connection").addFilter(
    lambda record: not str(record.msg).startswith("error when creating transport")
)

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


class _Connection(aio_pika.Connection):
    """A connection that can be told for which name the broker's certificate has to be."""

    PARAMETERS = (
        *aio_pika.Connection.PARAMETERS,
        ConnectionParameter(name="server_hostname", parser=str, is_kwarg=True),
    )

    def __del__(self) -> None:
        """Do nothing: the library would start a task, in whatever thread the collector runs."""


async def open_connection(
    url: str,
    *,
    name: str,
    timeout: float | None = None,  # noqa: ASYNC109 - it bounds several steps and names its fault
    heartbeat: int | None = None,
) -> AbstractConnection:
    """Open a plain connection to the first host that answers; the hosts are tried in random order.

    Args:
        url: `amqp://` or `amqps://` (the server's certificate is verified), with credentials.
        name: What the broker's management shows for it.
        timeout: Seconds for the whole handshake, name resolution included; the shorter of this and
            what the URL says.
        heartbeat: Seconds; a silent peer is noticed after about three times this. By default the
            URL's own.

    Raises:
        BrokerUnavailable: With a message for an operator, free of credentials.
    """
    broker: BrokerAddress | None = None
    try:
        broker = read(url)
        limits = [limit for limit in (timeout, broker.seconds) if limit]
        seconds = min(limits, default=OPEN_SECONDS)
        given = await _arguments(broker, name, heartbeat)
        return await _open_first(broker, given, asyncio.get_running_loop().time() + seconds)
    except NoneSucceeded as none:
        assert broker is not None
        fault = opening_faults(none.failed, broker)
    except ValueError as error:
        fault = f"the URL {words_of_url(error)}; correct it"
    except Exception as error:  # noqa: BLE001 - such as a file that changed since it was looked at
        fault = f"{words(error)}; correct the URL, or the files that it names"
    # Outside the handlers: the library's error, kept as context, could show the URL.
    raise BrokerUnavailable(f"broker at {address(url)}: {fault}")


async def _arguments(broker: BrokerAddress, name: str, heartbeat: int | None) -> dict[str, Any]:
    """What the library is given of an address, whichever of its hosts it connects to."""
    context = None
    if broker.encrypted:
        trusted = partial(trusting, broker.files, broker.authority, verified=broker.verified)
        context = await asyncio.get_running_loop().run_in_executor(None, trusted)
    return {
        "client_properties": {"connection_name": name},
        "heartbeat": heartbeat or broker.heartbeat or HEARTBEAT_SECONDS,
        "ssl_context": context,
        **({"auth": "external"} if broker.external else {}),
    }


async def _open_first(
    broker: BrokerAddress, given: Mapping[str, Any], deadline: float
) -> AbstractConnection:
    hosts = random.sample(broker.hosts, len(broker.hosts))
    attempts = [(str(host), partial(_open_host, broker, host, given, deadline)) for host in hosts]
    return await first_of(attempts, deadline=deadline, discard=close_quietly)


async def _open_host(
    broker: BrokerAddress, host: Host, given: Mapping[str, Any], deadline: float
) -> AbstractConnection:
    found = await addresses_of(host, deadline)
    attempts = [
        (
            str(host) if len(found) == 1 else f"{host} ({ip})",
            partial(_open_one, broker, host, ip, given),
        )
        for ip in random.sample(found, len(found))
    ]
    return await first_of(attempts, deadline=deadline, discard=close_quietly)


async def _open_one(
    broker: BrokerAddress, host: Host, ip: str, given: Mapping[str, Any]
) -> AbstractConnection:
    """Open a connection to one IP address of a host."""
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    named: dict[str, Any] = (
        {"server_hostname": broker.server_name or host.name.rstrip(".")} if broker.encrypted else {}
    )
    try:
        url = _url(broker, Host(ip, host.port))
        connection: AbstractConnection = await aio_pika.connect(
            url, connection_class=_Connection, **given, **named
        )
    except asyncio.CancelledError:
        if task.cancelling() > cancelled_before:
            raise
        # The library cancels whoever waits on a connection that it loses.
    except Exception:
        if task.cancelling() > cancelled_before:
            # Which the library's error must not swallow.
            raise asyncio.CancelledError from None
        raise
    else:
        return connection
    raise EOFError


def _url(broker: BrokerAddress, host: Host) -> URL:
    """The address of one host as the library takes it."""
    login = quote(broker.user or "", safe="")
    if broker.password is not None:
        login += f":{quote(broker.password, safe='')}"
    vhost = "" if broker.vhost == "/" else quote(broker.vhost, safe="")
    scheme = "amqps" if broker.encrypted else "amqp"
    return URL(f"{scheme}://{login}{login and '@'}{host}/{vhost}", encoded=True)


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
    travels on, also one that `asyncio.wait_for`, which they use, has swallowed (Python 3.11, if the
    answer comes at the same moment). An odd answer makes the libraries raise anything, KeyError
    say: that is a loss too.

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
            answer = await awaitable
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
    if task.cancelling() > cancelled_before:
        raise asyncio.CancelledError
    return answer


def loss(error: BaseException | None) -> BrokerLost:
    """The one kind of error, made of whatever a library gave as the reason of a loss."""
    for kind, code in _REFUSAL_CODES.items():
        if isinstance(error, kind):
            return ChannelRefused(code, words(error))
    if error is None or isinstance(error, asyncio.CancelledError):
        return BrokerLost("connection to the broker lost")
    return BrokerLost(f"connection to the broker lost ({words(error)})")


def user_of(url: str) -> str | None:
    """The user as whom a broker's URL signs in; None if a certificate says it, not the URL."""
    broker = read(url)
    return broker.user or (None if broker.external else "guest")


def address(url: str) -> str:
    """Hosts and ports of a broker's URL, and nothing else of it."""
    try:
        return read(url).place
    except ValueError:
        return "an address that can't be read"
