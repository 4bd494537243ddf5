"""Measures how late the event loop comes to what is due: whatever blocks it holds up each buyer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_PERIOD_SECONDS: Final = 0.25


async def measure(observe: Callable[[float], None]) -> None:
    """Tell the lag in seconds four times a second until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + _PERIOD_SECONDS
        await asyncio.sleep(_PERIOD_SECONDS)
        observe(max(0.0, clock() - due))
