"""Checks whether a host can be reached: its name, its port, its certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from worker.core.exceptions import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLOSE_SECONDS: Final = 0.5


class Unreachable(Unavailable):
    """A host can't be reached; the message says which step failed and why."""


class UnknownName(Unreachable):
    """DNS does not know the host, or does not answer."""


class Untrusted(Unreachable):
    """The TLS handshake failed, or the certificate can't be verified."""


async def lookup(host: str, seconds: float) -> list[str]:
    """The IP addresses of a host.

    The event loop's own look-up runs in a thread for which the program waits at its end, however
    long an unresponsive name server takes; this one uses a daemon thread.

    Raises:
        UnknownName: There are none, or there was no answer in time.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()
    threading.Thread(target=_look_up, args=(host, loop, found), daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            return await found
    except TimeoutError:
        raise UnknownName(f"DNS gave no answer for {host} within {seconds:g} s") from None
    except OSError as error:
        raise UnknownName(f"the host name {host} can't be resolved ({error.strerror})") from None


def _look_up(host: str, loop: asyncio.AbstractEventLoop, found: asyncio.Future[list[str]]) -> None:
    try:
        rows = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        fault = error if isinstance(error, OSError) else OSError(0, "it is not a host name")
        _hand_over(loop, found, fault)
    else:
        _hand_over(loop, found, list(dict.fromkeys(str(row[4][0]) for row in rows)))


def _hand_over(
    loop: asyncio.AbstractEventLoop,
    found: asyncio.Future[list[str]],
    result: list[str] | OSError,
) -> None:
    def settle() -> None:
        if found.done():
            return
        if isinstance(result, OSError):
            found.set_exception(result)
        else:
            found.set_result(result)

    with suppress(RuntimeError):  # the loop is closed: nothing waits for the result
        loop.call_soon_threadsafe(settle)


async def connect(addresses: Sequence[str], port: int, seconds: float) -> str:
    """The first address that accepts a TCP connection.

    Raises:
        Unreachable: None of them does.
    """
    fault = ""
    for address in addresses:
        try:
            async with asyncio.timeout(seconds / len(addresses)):
                _, writer = await asyncio.open_connection(address, port)
        except TimeoutError:
            fault = f"{address}:{port} does not answer: a firewall, or no route?"
        except OSError as error:
            fault = f"{address}:{port}: {_words(error)}"
        else:
            await _close(writer)
            return address
    raise Unreachable(fault)


async def handshake(
    address: str, port: int, host: str, context: ssl.SSLContext, seconds: float
) -> None:
    """Open a TLS connection, and close it.

    Raises:
        Untrusted: The handshake failed, or the certificate is not valid for the host.
    """
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(
                address, port, ssl=context, server_hostname=host
            )
    except TimeoutError:
        raise Untrusted(
            f"{host}:{port} accepts connections, but does not answer the TLS handshake"
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(
            f"the certificate of {host} can't be verified ({error.verify_message})"
        ) from None
    except (ssl.SSLError, OSError) as error:
        raise Untrusted(f"the TLS handshake with {host}:{port} failed ({_words(error)})") from None
    await _close(writer)


def _words(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return getattr(error, "reason", None) or error.strerror or type(error).__name__


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await writer.wait_closed()
