"""Gives tokens back to their lanes: held too long, better left to other replicas, or at the end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.token.prefetch import GIVE_BACK_SECONDS
from worker.runtime.token.in_flight import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from worker.runtime.token.in_flight import InFlight
    from worker.runtime.token.settlement import Settlement

log: Final = structlog.get_logger()

UNCALLED: Final = frozenset({Stage.LOOKUP, Stage.WAITING})
"""How far tokens have come for which no call was made or is under way."""

_SWEEP_SECONDS: Final = 5.0
_ASIDE_SECONDS: Final = 0.25  # what comes in before the lanes are held is given back too


class GiveBack:
    """Looks through the tokens in hand every few seconds, and at once when it is woken.

    Args:
        in_flight: All tokens under way.
        settlement: Carries moves out.
        stands_aside: Whether AWS refuses this replica and accepts others.
    """

    def __init__(
        self, in_flight: InFlight, settlement: Settlement, stands_aside: Callable[[], bool]
    ) -> None:
        self._in_flight = in_flight
        self._settlement = settlement
        self._stands_aside = stands_aside
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """`stands_aside` has changed."""
        self._woken.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with suppress(TimeoutError):
                seconds = _ASIDE_SECONDS if self._stands_aside() else _SWEEP_SECONDS
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            self._woken.clear()
            if self._stands_aside():
                self.all_at(UNCALLED, "AWS refuses this replica and accepts others")
            self._stale()

    def all_at(self, stages: Collection[Stage], reason: str) -> None:
        """Give back all tokens that have come so far."""
        chosen = [token for token in self._in_flight if token.stage in stages]
        submissions = sum(len(token.waiters) for token in chosen)
        if submissions:
            log.info("given_back", reason=reason, submissions=submissions)
        for token in chosen:
            self._settlement.give_back(token, token.waiters)

    def _stale(self) -> None:
        """What can't be put back into its lane in time, the consumer returns to its queue."""
        before = asyncio.get_running_loop().time() - GIVE_BACK_SECONDS
        self._in_flight.drop_dead()  # what died during its call, and waits for another
        given_back = 0
        for token in self._in_flight:
            stale = [waiter for waiter in token.waiters if waiter.delivery.arrived < before]
            if stale and token.stage is not Stage.CALLING:
                given_back += len(stale)
                self._settlement.give_back(token, stale)
        if given_back:
            log.info("given_back", reason="held too long", submissions=given_back)
