"""Retries while the database is away, within a bound."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

from worker.core import backoff
from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")


async def retry_for(seconds: float, act: Callable[[], Awaitable[_T]]) -> _T:
    """Return what `act` returns; retry it while the database is away, for so many seconds.

    Raises:
        LedgerUnavailable: The database was still away when the time was over.
    """
    loop = asyncio.get_running_loop()
    ends, failures = loop.time() + seconds, 0
    while True:
        try:
            return await act()
        except LedgerUnavailable:
            failures += 1
            delay = backoff.RECONNECT.delay(failures, random.random())  # noqa: S311 - spread
            if loop.time() + delay > ends:
                raise
            await asyncio.sleep(delay)
