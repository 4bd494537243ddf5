"""Permits to call, at the operator's ceiling.

A rate shared among replicas takes the ceiling's place here once there is one.
"""

from __future__ import annotations

import asyncio
from typing import Final

from worker.core.pacing import Gcra

_LONGEST_NAP_SECONDS: Final = 0.25  # so that a change of rate is soon felt


_LATENESS_SECONDS: Final = 0.05


class Pacer:
    """Hands out permits, one call each, at most so many a second.

    A loop wakes late, by a millisecond or by many. Whoever asks all the time is not to lose what
    was due meanwhile, so a permit then counts from when it was due.

    Args:
        ceiling: Calls a second; None for no limit.
    """

    def __init__(self, ceiling: float | None) -> None:
        self._gcra = Gcra(ceiling)
        self._last = float("-inf")

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
        while (wait := self._gcra.wait(loop.time())) > 0:  # noqa: ASYNC110 - waits for a time
            await asyncio.sleep(min(wait, _LONGEST_NAP_SECONDS))
        self._gcra.take(self._due(loop.time()))
        self._last = loop.time()

    def _due(self, now: float) -> float:
        """When the permit that is taken now was due: at most a little ago, if somebody waited."""
        rate = self._gcra.rate
        if rate is None or now - self._last > 1 / rate + _LATENESS_SECONDS:
            return now
        return max(self._gcra.arrival, now - _LATENESS_SECONDS)
