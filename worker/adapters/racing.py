"""Connects to whichever of several addresses answers first, without waiting long for any of them.

The first attempt has a head start; where it neither succeeds nor fails within that, the next begins
beside it, and so on. So an address that accepts a connection and stays silent hides no other, and
an address that refuses costs no time.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from worker.adapters.reach import lookup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from worker.core.addresses.text import Host

_T = TypeVar("_T")

_HEAD_START_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 1.0
_TO_TELL_SECONDS: Final = 0.05


class Failed(NamedTuple):
    """An attempt that failed.

    Attributes:
        place: The address that was tried.
        error: Why it failed.
    """

    place: str
    error: Exception


class NoneSucceeded(Exception):
    """All attempts failed.

    Attributes:
        failed: Each of them, in the order in which they were made.
    """

    def __init__(self, failed: Sequence[Failed]) -> None:
        super().__init__()
        self.failed = tuple(failed)


async def first_of(
    attempts: Sequence[tuple[str, Callable[[], Awaitable[_T]]]],
    *,
    deadline: float,
    discard: Callable[[_T], Awaitable[None]],
) -> _T:
    """The result of the first attempt that succeeds; the others are cancelled.

    Args:
        attempts: For each address its name and a function that connects to it.
        deadline: When all of them are given up, by the loop's clock.
        discard: Called with the result of an attempt that succeeded too late.

    Raises:
        NoneSucceeded: No attempt succeeded.
    """
    if len(attempts) == 1:
        ((place, connect),) = attempts
        try:
            return await _within(deadline, connect)
        except NoneSucceeded:
            raise
        except Exception as error:  # noqa: BLE001 - whoever asked tells what it means
            fault = Failed(place, error)
        raise NoneSucceeded([fault])
    return await _race(attempts, deadline, discard)


async def _race(
    attempts: Sequence[tuple[str, Callable[[], Awaitable[_T]]]],
    deadline: float,
    discard: Callable[[_T], Awaitable[None]],
) -> _T:
    left = deadline - asyncio.get_running_loop().time()
    head_start = min(_HEAD_START_SECONDS, max(left, 0) / 2 / len(attempts))
    waiting = deque(attempts)
    running: dict[asyncio.Task[_T], str] = {}
    failed: list[Failed] = []
    try:
        while waiting or running:
            if waiting:
                place, connect = waiting.popleft()
                running[asyncio.create_task(_within(deadline, connect))] = place
            done, _ = await asyncio.wait(
                running,
                timeout=head_start if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                if (error := _error_of(task)) is None:
                    del running[task]
                    return task.result()
                failed += _flat(running.pop(task), error)
    finally:
        await _end(running, discard)
    raise NoneSucceeded(failed)


async def _within(deadline: float, connect: Callable[[], Awaitable[_T]]) -> _T:
    async with asyncio.timeout_at(deadline):
        return await connect()


def _error_of(task: asyncio.Task[_T]) -> Exception | None:
    if task.cancelled():
        return ConnectionError("cancelled")
    error = task.exception()
    assert error is None or isinstance(error, Exception)
    return error


def _flat(place: str, error: Exception) -> Sequence[Failed]:
    return error.failed if isinstance(error, NoneSucceeded) else [Failed(place, error)]


async def _end(
    running: dict[asyncio.Task[_T], str], discard: Callable[[_T], Awaitable[None]]
) -> None:
    for task in running:
        task.cancel()
    if running:
        done, _ = await asyncio.wait(running, timeout=_CLOSE_SECONDS)
        for task in done:
            if _error_of(task) is None:
                await discard(task.result())


async def addresses_of(host: Host, deadline: float) -> list[str]:
    """The IP addresses of a host; its name alone if that is a Unix socket.

    Args:
        host: The host.
        deadline: When the connection is given up; shortly before, the look-up is.

    Raises:
        UnknownName: The name can't be resolved.
    """
    if host.name.startswith("/") or _is_address(host.name):
        return [host.name]
    left = deadline - asyncio.get_running_loop().time() - _TO_TELL_SECONDS
    return await lookup(host.name, max(left, 0))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
