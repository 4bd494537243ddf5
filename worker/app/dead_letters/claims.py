"""Which dead letters come next: claims of replays that died, then the oldest open ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.app.dead_letters.request import ReplayRequest
    from worker.core.dead_letters.replay import Claimed

_LOOK_SECONDS: Final = 1.0
_BEGINNING: Final = {"after": "-infinity", "after_id": 0}


class Claims:
    """Claims dead letters for one replay, a batch at a time, each once.

    Args:
        commands: The database.
        request: What was asked for.
        replay: The number of the replay.
        began: When it began, on the database's clock: what fails later is left alone.
        stopping: Once it is set, this waits for no other replay.

    Attributes:
        held: Dead letters that other running replays have claimed.
    """

    def __init__(
        self,
        commands: DeadLetterCommands,
        request: ReplayRequest,
        replay: int,
        began: datetime,
        stopping: asyncio.Event,
    ) -> None:
        self._commands = commands
        self._request = request
        self._replay = replay
        self._stopping = stopping
        self._fixed = {
            "replay": replay,
            "keys": request.keys,
            "margin": request.margin,
            "failed_until": began,
        }
        self._cursor: Mapping[str, Any] = _BEGINNING
        self._heartbeats: dict[int, datetime] = {}
        self.held = 0

    async def next(self, most: int) -> list[Claimed]:
        """Claim a batch; return it empty once nothing is left to claim."""
        if self._cursor is _BEGINNING and (batch := await self._abandoned(most)):
            return batch
        if batch := await self._open(most):
            return batch
        while not (batch := await self._abandoned(most)) and await self._worth_waiting():
            pass
        return batch or await self._passed_over(most)

    async def _passed_over(self, most: int) -> list[Claimed]:
        """Claim those that were locked for a moment, or were released since."""
        if self._cursor is _BEGINNING:
            return []
        self._cursor = _BEGINNING
        return await self._open(most)

    async def _open(self, most: int) -> list[Claimed]:
        found = await self._claim(most, self._cursor, abandoned=False)
        if found:
            self._cursor = {"after": found[-1][0], "after_id": found[-1][1].id}
        return [letter for _, letter in found]

    async def _abandoned(self, most: int) -> list[Claimed]:
        return [letter for _, letter in await self._claim(most, {}, abandoned=True)]

    async def _claim(
        self, most: int, cursor: Mapping[str, Any], *, abandoned: bool
    ) -> list[tuple[datetime, Claimed]]:
        given = {**self._fixed, **cursor, "most": most}
        request = self._request
        return await self._commands.claim(
            request.actor, request.selection, given, abandoned=abandoned
        )

    async def _worth_waiting(self) -> bool:
        """Wait a moment if claims may be abandoned: another replay showed no heartbeat."""
        holders = await self._commands.holders(self._request.selection, self._replay)
        self.held = sum(holder.letters for holder in holders)
        for holder in holders:
            self._heartbeats.setdefault(holder.replay, holder.heartbeat_at)
        silent = any(self._heartbeats[each.replay] == each.heartbeat_at for each in holders)
        return silent and not await self._stopped()

    async def _stopped(self) -> bool:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True
