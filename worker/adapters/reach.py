"""Looks host names up without holding up the end of the program."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress

from worker.core.exceptions import Unavailable


class UnknownName(Unavailable):
    """DNS does not know the host, or does not answer."""


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
        raise UnknownName(f"DNS gave no answer for {host} in time") from None
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
