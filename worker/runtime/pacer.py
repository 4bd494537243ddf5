"""Permits to call, at the operator's ceiling.

A rate shared among replicas takes the ceiling's place here once there is one.
"""

from __future__ import annotations

import asyncio
from typing import Final

from worker.core.pacing import Gcra

_LONGEST_NAP_SECONDS: Final = 0.25  # so that a change of rate is soon felt


class Pacer:
    """Hands out permits, one call each, at most so many a second.

    Args:
        ceiling: Calls a second; None for no limit.
    """

    def __init__(self, ceiling: float | None) -> None:
        self._gcra = Gcra(ceiling)

    @property
    def ceiling(self) -> float | None:
        """Calls a second; None for no limit."""
        return self._gcra.rate

    def change(self, ceiling: float | None) -> None:
        """Go on at another ceiling."""
        self._gcra.change(ceiling, asyncio.get_running_loop().time())

    async def permit(self) -> None:
        """Wait for a permit."""
        loop = asyncio.get_running_loop()
        while not self._gcra.take(loop.time()):  # noqa: ASYNC110 - waits for a time, not an event
            await asyncio.sleep(min(self._gcra.wait(loop.time()), _LONGEST_NAP_SECONDS))
