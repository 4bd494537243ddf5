"""Stops calls for a fault that is ours, and probes until it is over."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import backoff, faults
from worker.core.outage import Outage
from worker.core.records import FaultKind

if TYPE_CHECKING:
    from worker.core.records import Fault
    from worker.ports import Marketplace
    from worker.runtime.gate import Gate

log: Final = structlog.get_logger()

_WHO: Final = "aws"


class Breaker:
    """Open while AWS refuses us; one probe at a time, which costs no token, looks again.

    Attributes:
        fault: Why it is open, or None while it is closed.
        successes: How many calls AWS has answered so far; tells a fault that follows one token
            alone from one that meets all.
    """

    def __init__(self, gate: Gate, marketplace: Marketplace) -> None:
        self._gate = gate
        self._marketplace = marketplace
        self._opened = asyncio.Event()
        self._outage = Outage()
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
        """Stop calls. Does nothing more if it is open already."""
        if self.fault is None:
            log.error("calls_stopped", code=fault.code, reason=fault.message)
            self._gate.shut(_WHO, f"{fault.code}: {fault.message}")
            self._opened.set()
        self.fault = fault

    async def run(self) -> None:
        """Probe whenever it is open, until cancelled."""
        while True:
            await self._opened.wait()
            self._opened.clear()
            await self._probe_until_over()

    async def _probe_until_over(self) -> None:
        probes = 0
        while self.fault is not None:
            await asyncio.sleep(backoff.probe_wait(probes, random.random()))  # noqa: S311 - spread
            probes += 1
            fault = await self._marketplace.probe()
            if fault is None:
                self._close(probes)
            else:
                log.warning("calls_still_stopped", code=fault.code, reason=fault.message)
                if fault.kind is FaultKind.SYSTEMIC:  # no answer is no news of who refuses whom
                    self.fault = fault

    def _close(self, probes: int) -> None:
        log.info("calls_resumed", probes=probes)
        self.fault = None
        self._outage.over()
        self.answered()
        self._gate.open(_WHO)
