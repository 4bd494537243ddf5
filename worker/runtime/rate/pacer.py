"""Permits to call: paced at this replica's share of the rate, or asked for one by one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worker.core.exceptions import LedgerUnavailable
from worker.core.rate.fleet import Lease, decayed
from worker.core.rate.pacing import Gcra
from worker.core.rate.slowing import Slowing

if TYPE_CHECKING:
    from worker.core.rate.usage import Usage
    from worker.ports import Fleet

_LONGEST_NAP_SECONDS: Final = 0.25  # so that a change of rate is soon felt
_LATENESS_SECONDS: Final = 0.05
_VOID_RATIO: Final = 1.5


class Pacer:
    """Hands out permits, one call each.

    A loop wakes late, by a millisecond or by many. Whoever asks all the time is not to lose what
    was due meanwhile, so a permit then counts from when it was due.

    Args:
        fleet: Where single permits are had.
        usage: Told how long tokens waited for a permit.

    Attributes:
        limits: Whether somebody waits for a permit at this moment.
    """

    def __init__(self, fleet: Fleet, usage: Usage) -> None:
        self._fleet = fleet
        self._usage = usage
        self._gcra = Gcra(None)
        self._slowing = Slowing()
        self._lease: Lease | None = None
        self._renewed = self._last = float("-inf")
        self.limits = False

    @property
    def shared(self) -> float:
        """Calls a second of the whole fleet, as last heard; 0 before anything was."""
        return 0.0 if self._lease is None else self._lease.rate

    @property
    def share(self) -> float:
        """Calls a second that were last leased to this replica; 0 before any were."""
        return 0.0 if self._lease is None else self._lease.share

    def local(self) -> float:
        """Calls a second that this replica may make now."""
        if self._lease is None:
            return 0.0
        now = asyncio.get_running_loop().time()
        return decayed(self._lease.share, now - self._renewed) * self._slowing.factor(now)

    def follow(self, lease: Lease) -> None:
        """Go on at the share of a new lease."""
        self._lease = lease
        self._renewed = asyncio.get_running_loop().time()
        self._slowing.leased(lease.share, self._renewed)

    def not_throttled(self) -> None:
        """AWS did not throttle a call."""
        self._slowing.answered(asyncio.get_running_loop().time())

    def throttled(self) -> None:
        """AWS said that there are too many calls: slow down at once."""
        self._slowing.throttled(asyncio.get_running_loop().time())

    def resume(self) -> None:
        """Begin gently after calls were stopped."""
        self._slowing.resume(asyncio.get_running_loop().time())

    async def permit(self) -> None:
        """Wait for a permit."""
        while (lease := self._lease) is not None and lease.singly:
            try:
                wait = await self._fleet.permit()
            except LedgerUnavailable:
                break
            if await self._waited(wait, lease):
                return
        await self._paced()

    async def _paced(self) -> None:
        loop = asyncio.get_running_loop()
        while (wait := self._wait(loop.time())) > 0:
            await self._nap(min(wait, _LONGEST_NAP_SECONDS))
        self._gcra.take(self._due(loop.time()))
        self._last = loop.time()

    def _wait(self, now: float) -> float:
        if self._lease is None:
            return _LONGEST_NAP_SECONDS
        self._gcra.change(self.local(), now)
        return self._gcra.wait(now)

    def _due(self, now: float) -> float:
        """When the permit that is taken now was due: at most a little ago, if somebody waited."""
        rate = self._gcra.rate
        if rate is None or now - self._last > 1 / rate + _LATENESS_SECONDS:
            return now
        return max(self._gcra.arrival, now - _LATENESS_SECONDS)

    async def _waited(self, seconds: float, lease: Lease) -> bool:
        """Wait for a single permit; False if so much has changed since that it is void."""
        loop = asyncio.get_running_loop()
        slowed = 1 / self._slowing.factor(loop.time()) - 1
        end = loop.time() + seconds + slowed / lease.share
        while (left := end - loop.time()) > 0:
            await self._nap(min(left, _LONGEST_NAP_SECONDS))
            if self._lease is not None and _is_void(lease, self._lease):
                return False
        return True

    async def _nap(self, seconds: float) -> None:
        """Sleep, and note it: others decide by it how much is needed here."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.limits = True
        try:
            await asyncio.sleep(seconds)
        finally:
            self.limits = False
            self._usage.starved(loop.time() - began)


def _is_void(given: Lease, now: Lease) -> bool:
    """Whether a permit that was given under one lease is worth less than one under another.

    The rate has risen, or those are gone among whom the permits before it were given out.
    """
    return now.rate > _VOID_RATIO * given.rate or given.replicas > _VOID_RATIO * max(
        1, now.replicas
    )
