"""What the simulator has seen, by whole second of the epoch."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Final

from benchmarks.quota.figures import share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.programs import Simulator

_OK: Final = "ok"
_THROTTLED: Final = "throttled"
_JUST_AFTER_SECONDS: Final = 0.02
_PER_LINE: Final = 20


class Timeline:
    """Calls by second and result; a span of seconds is a `range` of the epoch's."""

    def __init__(self, seconds: Mapping[str, Mapping[str, int]]) -> None:
        self._seconds = {int(second): counts for second, counts in seconds.items()}

    @classmethod
    async def of(cls, simulator: Simulator) -> Timeline:
        """What it has seen until now."""
        return cls((await simulator.order("GET", "stats"))["seconds"])

    def calls(self, span: range) -> int:
        """All calls."""
        return sum(sum(self._seconds.get(second, {}).values()) for second in span)

    def busiest(self, span: range) -> int:
        """The most calls in one second."""
        return max((self.calls(range(second, second + 1)) for second in span), default=0)

    def ok(self, span: range) -> int:
        """Calls that succeeded."""
        return self._count(_OK, span)

    def throttled(self, span: range) -> int:
        """Calls that were throttled."""
        return self._count(_THROTTLED, span)

    def _count(self, result: str, span: range) -> int:
        return sum(self._seconds.get(second, {}).get(result, 0) for second in span)

    def throttled_share(self, span: range) -> float:
        """Percent of the calls."""
        return share(self.throttled(span), self.calls(span))

    def used(self, span: range, quota: float) -> float:
        """Successes as percent of what the quota let through."""
        return share(self.ok(span), quota * len(span))

    def reached(self, rate: float, span: range, width: int = 3) -> float:
        """Seconds from the span's start until `width` seconds on end had `rate` successes each.

        On average, that is; infinite where that did not happen within the span.
        """
        for end in range(span.start + width, span.stop + 1):
            if self.ok(range(end - width, end)) >= rate * width:
                return end - span.start
        return math.inf

    def lines(self, span: range) -> str:
        """For a person: each second's successes, then those throttled and others, if any."""
        cells = [self._cell(second) for second in span]
        starts = range(0, len(cells), _PER_LINE)
        return "\n".join(f"    {at:4} s  {' '.join(cells[at : at + _PER_LINE])}" for at in starts)

    def _cell(self, second: int) -> str:
        one = range(second, second + 1)
        ok, throttled = self.ok(one), self.throttled(one)
        others = self.calls(one) - ok - throttled
        return f"{ok}" + (f"-{throttled}" if throttled else "") + (f"!{others}" if others else "")


async def second_begins() -> int:
    """Wait until a second of the epoch has just begun: which one."""
    await until(int(time.time()) + 1)
    return int(time.time())


async def until(second: int) -> None:
    """Wait until a second of the epoch has begun."""
    while (left := second + _JUST_AFTER_SECONDS - time.time()) > 0:  # noqa: ASYNC110 - waits for a time
        await asyncio.sleep(left)
