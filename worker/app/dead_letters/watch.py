"""What becomes of the letters that were replayed, looked at while the replay runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worker.core.dead_letters.commands import tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.core.dead_letters.commands import Result
    from worker.core.dead_letters.replay import Tally

_CANARY_LOOK_SECONDS: Final = 0.25
_SHARE_LOOK_SECONDS: Final = 1.0
_MOST_AT_ONCE: Final = 2_000
_AFTER_A_FAILURE_SECONDS: Final = 5.0


async def await_outcomes(
    letters: DeadLetterCommands, ids: Iterable[int], seconds: float, stopping: asyncio.Event
) -> list[Result]:
    """What became of a few letters, once all have an outcome or time is up.

    After the first failure the rest is given a few seconds more, for the report.
    """
    loop = asyncio.get_running_loop()
    pending = set(ids)
    found: list[Result] = []
    ends = loop.time() + seconds
    while True:
        news = await letters.outcomes(sorted(pending))
        pending -= {result.id for result in news}
        found += news
        if any(not result.is_resolved for result in news):
            ends = min(ends, loop.time() + _AFTER_A_FAILURE_SECONDS)
        if not pending or stopping.is_set() or loop.time() >= ends:
            return found
        await asyncio.sleep(_CANARY_LOOK_SECONDS)


class Watch:
    """Counts outcomes while more is published; it looks once a second at most."""

    def __init__(self, letters: DeadLetterCommands) -> None:
        self._letters = letters
        self._pending: dict[int, None] = {}
        self._next_look = 0.0

    def add(self, ids: Iterable[int]) -> None:
        """These were published."""
        self._pending.update(dict.fromkeys(ids))

    async def look(self, known: Tally) -> Tally:
        """What is known by now, what was known before included."""
        now = asyncio.get_running_loop().time()
        if now < self._next_look or not self._pending:
            return known
        self._next_look = now + _SHARE_LOOK_SECONDS
        # The oldest: lanes are handled in their order.
        oldest = [letter for letter, _ in zip(self._pending, range(_MOST_AT_ONCE), strict=False)]
        results = await self._letters.outcomes(oldest)
        for result in results:
            del self._pending[result.id]
        return known + tally(results)
