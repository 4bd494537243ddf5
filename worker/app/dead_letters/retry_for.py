"""Waiting for a database that is away, within a bound."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

from worker.core import backoff
from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")


async def persist(act: Callable[[], Awaitable[_T]], seconds: float) -> _T:
    """Do it, and again for as long as patience lasts.

    Raises:
        LedgerUnavailable: The database was still away at the end.
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
