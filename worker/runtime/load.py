"""How busy this process is."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_SAMPLE_SECONDS: Final = 0.05
_MEMORY_SECONDS: Final = 0.2


class Load:
    """The share of the recent time in which the event loop's thread has run, 0 to 1.

    To be asked by that thread, as often as one likes: it looks at the clocks twenty times a second.

    Args:
        clock: Seconds of the wall's time.
        cpu: Seconds in which this thread has run.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._clock, self._cpu = clock, cpu
        self._at, self._ran = clock(), cpu()
        self._share = 0.0

    def __call__(self) -> float:
        """The share by now; what is longer ago counts for less."""
        now = self._clock()
        seconds = now - self._at
        if seconds >= _SAMPLE_SECONDS:
            ran = self._cpu()
            recent = min(1.0, (ran - self._ran) / seconds)
            self._share += (recent - self._share) * (1.0 - math.exp(-seconds / _MEMORY_SECONDS))
            self._at, self._ran = now, ran
        return self._share
