"""Waiting for a condition, and never for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")

GENEROUS_SECONDS = 45.0


@overload
async def eventually(check: Callable[[], Awaitable[_T]], what: str, seconds: float = ...) -> _T: ...
@overload
async def eventually(check: Callable[[], _T], what: str, seconds: float = ...) -> _T: ...
async def eventually(check: Callable[[], Any], what: str, seconds: float = GENEROUS_SECONDS) -> Any:
    """What `check` returns as soon as that is true.

    Raises:
        AssertionError: It did not become true in time.
    """
    ends = time.monotonic() + seconds
    while True:
        found: Any = check()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(0.02)
