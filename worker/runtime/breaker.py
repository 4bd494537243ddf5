"""Stops calls for a fault that is ours, and probes until it is over; with all replicas together."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import faults
from worker.core.outage import Outage
from worker.core.records import Fault, FaultKind
from worker.ports import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.fleet import Lease
    from worker.ports import Fleet, Marketplace, Secrets
    from worker.runtime.gate import Gate

log: Final = structlog.get_logger()

_WHO: Final = "aws"
_TURN_SECONDS: Final = 0.25
_OWN_TURN_SECONDS: Final = 1.0


class Breaker:
    """Open while AWS refuses us; one probe at a time, which costs no token, looks again.

    The first probe follows at once and is this replica's own: a fault that follows one token alone
    is over with it, and nobody else hears of it. If AWS refuses the probe too, the whole fleet is
    told, and from then on one replica at a time looks for all that call as the same identity. What
    this process alone is short of is never told: it looks by itself until there is enough again.

    Args:
        gate: Shut while it is open.
        marketplace: Who is probed, and as whom.
        fleet: Where the other replicas hear of it.
        secrets: What must not be in the words of a fault.
        resumed: Called when calls may go on after the fleet was stopped.
        remedy: What to do about a fault, by its code and words; for the log.

    Attributes:
        fault: Why it is open, or None while it is closed.
        successes: How many calls AWS has answered so far; tells a fault that follows one token
            alone from one that meets all.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        marketplace: Marketplace,
        fleet: Fleet,
        secrets: Secrets,
        resumed: Callable[[], None],
        remedy: Callable[[str, str], str],
    ) -> None:
        self._gate = gate
        self._marketplace = marketplace
        self._fleet = fleet
        self._secrets = secrets
        self._resumed = resumed
        self._remedy = remedy
        self._opened = asyncio.Event()
        self._outage = Outage()
        self._told_at: float | None = None  # loop time since which the fleet knows of the fault
        self._closed_at = float("-inf")
        self._confirmed = False  # a probe of our own was refused too
        self.fault: Fault | None = None
        self.successes = 0

    @property
    def refused(self) -> Fault | None:
        """Why AWS refuses us, or None; an outage is no refusal of this replica's identity."""
        fault = self.fault
        return None if fault is None or fault.code == faults.OUTAGE else fault

    def answered(self) -> None:
        """AWS answered for a token."""
        self.successes += 1
        self._outage.answered(asyncio.get_running_loop().time())

    def failed(self, fault: Fault) -> None:
        """A call failed in passing; so many of them are an outage, which is not the tokens'."""
        if self._outage.failed(asyncio.get_running_loop().time()):
            self.open(faults.outage(fault))

    def open(self, fault: Fault) -> None:
        """Stop calls, unless they are stopped already."""
        if self.fault is None:
            self.fault = fault = self._harmless(fault)
            remedy = self._remedy(fault.code, fault.message)
            log.error("calls_stopped", code=fault.code, reason=fault.message, remedy=remedy)
            self._gate.shut(_WHO, f"{fault.code}: {fault.message}")
            self._opened.set()

    def follow(self, lease: Lease, asked_at: float) -> None:
        """Do as the fleet does.

        Args:
            lease: What the fleet says.
            asked_at: When it was asked (loop time): an answer from before we told of our own
                fault says nothing about it.
        """
        if asked_at <= self._closed_at:
            return
        refusal = lease.refusal
        if refusal is not None:
            if self._told_at is None:
                self._told_at = asked_at
            self.open(faults.systemic(refusal.code, refusal.message))
        elif self.fault is not None and self._told_at is not None and asked_at > self._told_at:
            self._marketplace.renew()  # what was mended may be the credentials
            self._close("another replica's probe was answered")

    async def run(self) -> None:
        """Probe whenever it is open, until cancelled."""
        while True:
            await self._opened.wait()
            try:
                await self._look()
            except LedgerUnavailable as error:
                # Nothing is called for without a ledger either.
                log.warning("fleet_not_reached", reason=str(error))
            if self.fault is not None:
                await asyncio.sleep(_TURN_SECONDS)

    async def _look(self) -> None:
        """Look whether it is over, at first for oneself, and then for all in turn."""
        if self._told_at is None:
            if (not self._confirmed or self._is_own) and await self._accepted():
                self._close("a probe was answered")
            elif self._is_own:
                await asyncio.sleep(_OWN_TURN_SECONDS)
            else:
                await self._tell()
            return
        identity = await self._marketplace.identity()
        if await self._fleet.may_probe(identity):
            before = self.fault
            if await self._accepted():
                await self._fleet.accept(identity)
                self._close("a probe was answered")
            elif self.fault not in {None, before} and not self._is_own:
                await self._tell()

    @property
    def _is_own(self) -> bool:
        return self.fault is not None and faults.is_shortage(self.fault)

    async def _tell(self) -> None:
        """Stop all who call as this identity."""
        identity, fault = await self._marketplace.identity(), self.fault
        if fault is not None:
            await self._fleet.refuse(identity, fault)
            # If it was closed meanwhile, the next lease opens it again.
            self._told_at = asyncio.get_running_loop().time() if self._opened.is_set() else None

    async def _accepted(self) -> bool:
        """Whether a probe was answered; if not, the fault is what it met."""
        fault = await self._marketplace.probe()
        if fault is None:
            return True
        if self.fault is not None:  # else another replica's probe was answered meanwhile
            self._confirmed = True
            fault = self._harmless(fault)
            log.warning("calls_still_stopped", code=fault.code, reason=fault.message)
            if fault.kind is FaultKind.SYSTEMIC:  # no answer is no news of who refuses whom
                self.fault = fault
        return False

    def _harmless(self, fault: Fault) -> Fault:
        """A fault as it may be told to all: whoever answers may repeat any token."""
        return replace(fault, message=self._secrets.hide(fault.message))

    def _close(self, why: str) -> None:
        if self.fault is None:
            return
        log.info("calls_resumed", reason=why)
        if self._told_at is not None:
            self._resumed()
        self.fault = self._told_at = None
        self._confirmed = False
        self._opened.clear()
        self._closed_at = asyncio.get_running_loop().time()
        self._outage.over()
        self.answered()
        self._gate.open(_WHO)
