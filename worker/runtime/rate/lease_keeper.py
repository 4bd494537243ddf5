"""Keeps this replica's lease of the shared rate: it reports about each second, and follows."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import holds
from worker.core.backoff import equal_jitter
from worker.core.exceptions import LedgerUnavailable
from worker.core.rate.fleet import Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.rate.fleet import Lease, Pause, ReplicaState
    from worker.core.rate.usage import Usage
    from worker.ports import Fleet
    from worker.runtime.gate import Gate

log: Final = structlog.get_logger()

_PERIOD_SECONDS: Final = 1.2  # jittered to 0.6 to 1.2, so that replicas do not queue for the row
_LOST_SECONDS: Final = 5.0  # a database that restarts is back before it is reported
_AGAIN_SECONDS: Final = 60.0
_FRESH_SECONDS: Final = 3.0
_JOINING: Final = (
    "no call is made before AWS credentials are found: what gives them out (STS, a metadata "
    "service, a credential_process) has not answered yet"
)


class LeaseKeeper:
    """Keeps the lease, and passes on what comes with it.

    No call is made before the first lease: it says whether calls are paused.

    Args:
        fleet: Where the lease is had.
        usage: What there is to report.
        gate: Shut before the first lease, and during an operator's pause.
        state: What the other replicas learn of this one, at a time (loop time).
        follow: Called with each lease, and when it was asked for (loop time).
        check_identity: Looks whether AWS accepts this replica, with a call only if others are
            refused; tokens are not called for before.
        report: Called with why there has been no lease for a while, or None once there is one.

    Attributes:
        joined: Set once there was a lease.
        pause: Who has paused all calls, and why; None if nobody has.
        replicas: How many shared the rate when the lease was last renewed.
        wanted: How many the rate and what waits were worth then; None before.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        usage: Usage,
        gate: Gate,
        state: Callable[[float], ReplicaState],
        follow: Callable[[Lease, float], None],
        check_identity: Callable[[bool], Awaitable[None]],
        report: Callable[[str | None], None],
    ) -> None:
        self._fleet = fleet
        self._usage = usage
        self._gate = gate
        self._state = state
        self._follow = follow
        self._check_identity = check_identity
        self._report = report
        self._unheard = Report()
        self._lost_at: float | None = None
        self._told_at = 0.0
        self._deaths = (float("-inf"), 0)
        self._news = asyncio.Event()
        self._joining: asyncio.Task[None] | None = None
        self.joined = asyncio.Event()
        self.pause: Pause | None = None
        self.replicas = 1
        self.wanted: int | None = None
        gate.hold(holds.FLEET, "the fleet's rate is not known yet")

    @property
    def deaths(self) -> int:
        """Replicas that died lately; 0 while there is no fresh lease to say so."""
        at, deaths = self._deaths
        fresh = asyncio.get_running_loop().time() - at <= _FRESH_SECONDS
        return deaths if fresh else 0

    @property
    def is_current(self) -> bool:
        """Whether what came with the last lease still holds: it could be renewed since."""
        return self._joining is not None and self._lost_at is None

    def hurry(self) -> None:
        """Renew the lease at once: there is something that the others should know."""
        self._news.set()

    async def run(self) -> None:
        """Keep the lease until cancelled."""
        async with asyncio.TaskGroup() as beside:
            while True:
                self._news.clear()
                try:
                    await self._renew(beside)
                except LedgerUnavailable as error:
                    self._not_renewed(str(error))
                else:
                    self._lost_at = None
                    self._report(None if self.joined.is_set() else _JOINING)
                await self._until_due()

    async def _until_due(self) -> None:
        draw = random.random()  # noqa: S311 - spread
        with suppress(TimeoutError):
            async with asyncio.timeout(equal_jitter(_PERIOD_SECONDS, draw)):
                await self._news.wait()

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
            self._report(f"no lease of the shared rate: {reason}")

    async def leave(self) -> None:
        """Give the share back; a share that can't be is free after a few seconds anyway."""
        try:
            await self._fleet.leave()
        except LedgerUnavailable as error:
            log.info("lease_not_returned", reason=str(error))

    async def _renew(self, beside: asyncio.TaskGroup) -> None:
        now = asyncio.get_running_loop().time()
        self._unheard += self._usage.report(now)
        lease = await self._fleet.lease(self._unheard, self._state(now))
        self._unheard = Report()
        self._deaths = (asyncio.get_running_loop().time(), lease.deaths)
        self.replicas, self.wanted = lease.replicas, lease.wanted
        self._follow(lease, now)
        self._hold(lease.pause)
        if self._joining is None:
            self._joining = beside.create_task(self._join(lease), name="joining")

    async def _join(self, lease: Lease) -> None:
        """Begin to call, unless we can't say who we are, or are another account.

        The lease is kept meanwhile: what gives out the credentials may take a minute.
        """
        await self._check_identity(bool(lease.refused))
        self._gate.release(holds.FLEET)
        self.joined.set()
        if self._lost_at is None:
            self._report(None)

    def _hold(self, pause: Pause | None) -> None:
        if pause == self.pause:
            return
        self.pause = pause
        if pause is None:
            log.info("calls_unpaused")
            self._gate.release(holds.PAUSE)
        else:
            until = None if pause.until is None else pause.until.isoformat()
            log.warning("calls_paused", actor=pause.actor, reason=pause.reason, until=until)
            self._gate.hold(holds.PAUSE, str(pause))
