"""This replica's part in the fleet: it reports about each second, and goes on as it is told."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.backoff import equal_jitter
from worker.core.rate.fleet import ReplicaState, Report
from worker.core.records import FaultKind
from worker.ports import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.rate.fleet import Lease, Pause
    from worker.core.rate.usage import Usage
    from worker.ports import Fleet, Marketplace
    from worker.runtime.clock import Clock
    from worker.runtime.gate import Gate
    from worker.runtime.rate.pacer import Pacer
    from worker.runtime.token.breaker import Breaker
    from worker.runtime.token.event_outbox import EventOutbox

log: Final = structlog.get_logger()

_PERIOD_SECONDS: Final = 1.2  # jittered to 0.6 to 1.2, so that replicas do not queue for the row
_LOST_SECONDS: Final = 5.0  # a database that restarts is back before anybody is told
_AGAIN_SECONDS: Final = 60.0
_FRESH_SECONDS: Final = 3.0
_PAUSE: Final = "pause"
_FLEET: Final = "fleet"
_JOINING: Final = (
    "no call is made before AWS credentials are found: what gives them out (STS, a metadata "
    "service, a credential_process) has not answered yet"
)


class LeaseKeeper:
    """Keeps the lease, and passes on what comes with it.

    No call is made before the first lease: nobody knows yet whether calls are paused.

    Attributes:
        joined: Set once there was a lease.
        report: Called with why there has been no lease for a while, or None once there is one.
        suspected: How many messages this replica handles apart from all others.
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
        clock: Clock,
        events: EventOutbox,
    ) -> None:
        self._fleet = fleet
        self._marketplace = marketplace
        self._usage = usage
        self._pacer = pacer
        self._breaker = breaker
        self._gate = gate
        self._clock = clock
        self._events = events
        self._unheard = Report()
        self._paused: Pause | None = None
        self._lost_at: float | None = None
        self._told_at = 0.0
        self._deaths = (float("-inf"), 0)
        self._news = asyncio.Event()
        self._joining: asyncio.Task[None] | None = None
        self.joined = asyncio.Event()
        self.report: Callable[[str | None], None] = lambda _: None
        self.suspected: Callable[[], int] = lambda: 0
        gate.shut(_FLEET, "the fleet's rate is not known yet")

    @property
    def deaths(self) -> int:
        """Replicas that died lately; 0 while there is no fresh lease, for then nobody knows."""
        at, deaths = self._deaths
        fresh = asyncio.get_running_loop().time() - at <= _FRESH_SECONDS
        return deaths if fresh else 0

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
                    self.report(None if self.joined.is_set() else _JOINING)
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
            self.report(f"no share of the rate can be had: {reason}")

    async def leave(self) -> None:
        """Give the share back; a share that can't be is free after a few seconds anyway."""
        try:
            await self._fleet.leave()
        except LedgerUnavailable as error:
            log.info("share_not_given_back", reason=str(error))

    async def _renew(self, beside: asyncio.TaskGroup) -> None:
        now = asyncio.get_running_loop().time()
        self._unheard += self._usage.report(now)
        lease = await self._fleet.lease(self._unheard, self._state(now))
        self._unheard = Report()
        if lease.clock is not None:
            self._clock.measured(lease.clock)
        self._deaths = (asyncio.get_running_loop().time(), lease.deaths)
        self._pacer.follow(lease)
        self._breaker.follow(lease)
        self._events.follow(lease.outbox_keys, now)
        self._hold(lease.pause)
        if self._joining is None:
            self._joining = beside.create_task(self._join(lease), name="joining")

    def _state(self, now: float) -> ReplicaState:
        """What the others are told of this replica."""
        state = self._breaker.state
        return ReplicaState(
            identity=self._marketplace.identity(),
            refusal=state.fault if state.confirmed else None,
            refused_seconds=now - state.since if state.confirmed else 0.0,
            probes=state.probes,
            accepted_seconds=None if state.accepted_at is None else now - state.accepted_at,
            suspected=self.suspected(),
            skew_seconds=self._clock.skew_seconds,
        )

    async def _join(self, lease: Lease) -> None:
        """Begin to call, unless we can't say who we are, or are another account.

        Where another replica is refused, only after a look whether this one is too. The lease is
        kept meanwhile: what gives out the credentials may take a minute.
        """
        fault = await self._marketplace.confirm()
        if fault is None and lease.refused:
            fault = await self._marketplace.probe()
        if fault is not None and fault.kind is FaultKind.SYSTEMIC:
            self._breaker.open(fault)
        self._gate.open(_FLEET)
        self.joined.set()
        if self._lost_at is None:
            self.report(None)

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
