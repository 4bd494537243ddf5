"""Which letters come next: claims of replays that are gone, then the oldest open ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.app.dead_letters.request import Order
    from worker.core.dead_letters.replay import Claimed

_LOOK_SECONDS: Final = 1.0
_BEGINNING: Final = {"after": "-infinity", "after_id": 0}


class Claims:
    """Claims letters for one replay, a batch at a time, each once.

    Args:
        letters: Where they are.
        order: What was asked for.
        replay: For which replay.
        began: When that began, on the database's clock: what fails later is left alone.
        stopping: Once it is set, nobody is waited for.

    Attributes:
        held: Letters that other replays, which are alive, hold.
    """

    def __init__(
        self,
        letters: DeadLetterCommands,
        order: Order,
        replay: int,
        began: datetime,
        stopping: asyncio.Event,
    ) -> None:
        self._letters = letters
        self._order = order
        self._replay = replay
        self._stopping = stopping
        self._fixed = {
            "replay": replay,
            "keys": order.keys,
            "margin": order.margin,
            "failed_until": began,
        }
        self._place: Mapping[str, Any] = _BEGINNING
        self._heartbeats: dict[int, datetime] = {}
        self.held = 0

    async def next(self, most: int) -> list[Claimed]:
        """Claim a batch; empty once there is nothing more that could be claimed."""
        if self._place is _BEGINNING and (batch := await self._abandoned(most)):
            return batch
        if batch := await self._open(most):
            return batch
        while not (batch := await self._abandoned(most)) and await self._worth_waiting():
            pass
        return batch or await self._passed_over(most)

    async def _passed_over(self, most: int) -> list[Claimed]:
        """Those that somebody had locked for a moment, or has given back since."""
        if self._place is _BEGINNING:
            return []
        self._place = _BEGINNING
        return await self._open(most)

    async def _open(self, most: int) -> list[Claimed]:
        given = {**self._fixed, **self._place, "most": most}
        found = await self._letters.claim(
            self._order.actor, self._order.selection, given, abandoned=False
        )
        if found:
            self._place = {"after": found[-1][0], "after_id": found[-1][1].id}
        return [letter for _, letter in found]

    async def _abandoned(self, most: int) -> list[Claimed]:
        given = {**self._fixed, "most": most}
        found = await self._letters.claim(
            self._order.actor, self._order.selection, given, abandoned=True
        )
        return [letter for _, letter in found]

    async def _worth_waiting(self) -> bool:
        """Wait a moment if claims may turn out to be abandoned: not all holders show life."""
        holders = await self._letters.holders(self._order.selection, self._replay)
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
