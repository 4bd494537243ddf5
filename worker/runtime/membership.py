"""This replica's part in the fleet: it reports about each second, and goes on as it is told."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.backoff import equal_jitter
from worker.core.fleet import Report
from worker.core.records import FaultKind
from worker.ports import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.fleet import Lease, Pause
    from worker.core.usage import Usage
    from worker.ports import Fleet, Marketplace
    from worker.runtime.breaker import Breaker
    from worker.runtime.gate import Gate
    from worker.runtime.pacer import Pacer

log: Final = structlog.get_logger()

_PERIOD_SECONDS: Final = 1.2  # jittered to 0.6 to 1.2, so that replicas do not queue for the row
_LOST_SECONDS: Final = 5.0  # a database that restarts is back before anybody is told
_AGAIN_SECONDS: Final = 60.0
_PAUSE: Final = "pause"
_FLEET: Final = "fleet"


class Membership:
    """Keeps the lease, and passes on what comes with it.

    No call is made before the first lease: nobody knows yet whether calls are paused.

    Attributes:
        joined: Set once there was a lease.
        report: Called with why there has been no lease for a while, or None once there is one.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        marketplace: Marketplace,
        usage: Usage,
        pacer: Pacer,
        breaker: Breaker,
        gate: Gate,
    ) -> None:
        self._fleet = fleet
        self._marketplace = marketplace
        self._usage = usage
        self._pacer = pacer
        self._breaker = breaker
        self._gate = gate
        self._unheard = Report()
        self._paused: Pause | None = None
        self._lost_at: float | None = None
        self._told_at = 0.0
        self.joined = asyncio.Event()
        self.report: Callable[[str | None], None] = lambda _: None
        gate.shut(_FLEET, "the fleet's rate is not known yet")

    async def run(self) -> None:
        """Keep the lease until cancelled."""
        while True:
            try:
                await self._renew()
            except LedgerUnavailable as error:
                self._not_renewed(str(error))
            else:
                self._lost_at = None
                self.report(None)
            await asyncio.sleep(equal_jitter(_PERIOD_SECONDS, random.random()))  # noqa: S311 - spread

    def _not_renewed(self, reason: str) -> None:
        """Say so in the log at once and each minute, and to all who ask if it lasts."""
        now = asyncio.get_running_loop().time()
        if self._lost_at is None:
            self._lost_at, self._told_at = now, float("-inf")
        if now - self._told_at >= _AGAIN_SECONDS:
            self._told_at = now
            seconds = round(now - self._lost_at)
            log.warning("lease_not_renewed", reason=reason, for_seconds=seconds)
        if now - self._lost_at >= _LOST_SECONDS or not self.joined.is_set():
            self.report(f"no share of the rate can be had: {reason}")

    async def leave(self) -> None:
        """Give the share back; a share that can't be is free after a few seconds anyway."""
        try:
            await self._fleet.leave()
        except LedgerUnavailable as error:
            log.info("share_not_given_back", reason=str(error))

    async def _renew(self) -> None:
        asked_at = asyncio.get_running_loop().time()
        self._unheard += self._usage.report(asked_at)
        lease = await self._fleet.lease(self._unheard, await self._marketplace.identity())
        self._unheard = Report()
        self._pacer.follow(lease)
        self._breaker.follow(lease, asked_at)
        self._hold(lease.pause)
        if not self.joined.is_set():
            await self._join(lease)

    async def _join(self, lease: Lease) -> None:
        """Begin to call, unless we can't say who we are, or are another account.

        Where another identity is refused, only after a look at this one.
        """
        fault = await self._marketplace.confirm()
        if fault is None and lease.others_refused and lease.refusal is None:
            fault = await self._marketplace.probe()
        if fault is not None and fault.kind is FaultKind.SYSTEMIC:
            self._breaker.open(fault)
        self._gate.open(_FLEET)
        self.joined.set()

    def _hold(self, pause: Pause | None) -> None:
        if pause == self._paused:
            return
        self._paused = pause
        if pause is None:
            log.info("calls_unpaused")
            self._gate.open(_PAUSE)
        else:
            log.warning("calls_paused", actor=pause.actor, reason=pause.reason)
            self._gate.shut(_PAUSE, f"paused by {pause.actor}: {pause.reason}")
