"""The outcomes of what was replayed, looked at while the replay runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worker.core.dead_letters.commands import count_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.core.dead_letters.commands import Result
    from worker.core.dead_letters.replay import OutcomeCounts

_CANARY_LOOK_SECONDS: Final = 0.25
_SHARE_LOOK_SECONDS: Final = 1.0
_MOST_AT_ONCE: Final = 2_000
_AFTER_A_FAILURE_SECONDS: Final = 5.0


async def await_outcomes(
    commands: DeadLetterCommands, ids: Iterable[int], seconds: float, stopping: asyncio.Event
) -> list[Result]:
    """Return the outcomes of a few dead letters, once all have one or time is up.

    After the first failure the others get a few seconds more, for the report.
    """
    loop = asyncio.get_running_loop()
    pending = set(ids)
    found: list[Result] = []
    ends = loop.time() + seconds
    while True:
        news = await commands.outcomes(sorted(pending))
        pending -= {result.id for result in news}
        found += news
        if any(not result.is_resolved for result in news):
            ends = min(ends, loop.time() + _AFTER_A_FAILURE_SECONDS)
        if not pending or stopping.is_set() or loop.time() >= ends:
            return found
        await asyncio.sleep(_CANARY_LOOK_SECONDS)


class Watch:
    """Counts outcomes while more is published; it looks once a second at most."""

    def __init__(self, commands: DeadLetterCommands) -> None:
        self._commands = commands
        self._pending: dict[int, None] = {}
        self._next_look = 0.0

    def add(self, ids: Iterable[int]) -> None:
        """Add dead letters that were published."""
        self._pending.update(dict.fromkeys(ids))

    async def look(self, known: OutcomeCounts) -> OutcomeCounts:
        """Return the outcomes known by now, including those known before."""
        now = asyncio.get_running_loop().time()
        if now < self._next_look or not self._pending:
            return known
        self._next_look = now + _SHARE_LOOK_SECONDS
        # The oldest: lanes are handled in their order.
        oldest = [one for one, _ in zip(self._pending, range(_MOST_AT_ONCE), strict=False)]
        results = await self._commands.outcomes(oldest)
        for result in results:
            del self._pending[result.id]
        return known + count_outcomes(results)
