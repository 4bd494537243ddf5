"""Stops this replica's calls for a fault that is ours, and probes until it is over.

The decisions are in `worker.core.token.breaker`.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import aws_causes, aws_errors, holds
from worker.core.exceptions import LedgerUnavailable
from worker.core.records import Fault, FaultKind
from worker.core.token.breaker import BreakerState
from worker.core.token.outage import Outage, Reach
from worker.core.token.systemic_answers import OwnCalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.rate.fleet import Lease
    from worker.core.token.systemic_answers import SystemicAnswers
    from worker.ports import Fleet, Marketplace, Secrets
    from worker.runtime.gate import Gate

log: Final = structlog.get_logger()

_TURN_SECONDS: Final = 0.25
_TOLD_SECONDS: Final = 60.0


class Breaker:
    """Open while AWS refuses this replica or is down for it; probes cost no token.

    A fault that follows one token alone is over with the first probe, which is made at once.

    Args:
        gate: Shut while it is open.
        marketplace: Who is probed.
        fleet: Whose turn it is to probe.
        secrets: What must not be in the words of a fault.
        resumed: Called when calls may go on after probes were refused.
        changed: Called when there is news for the other replicas.
        remedy: What to do about a fault, by its code and words; for the log.

    Attributes:
        state: What it knows.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        marketplace: Marketplace,
        fleet: Fleet,
        secrets: Secrets,
        resumed: Callable[[], None],
        changed: Callable[[], None],
        remedy: Callable[[str, str], str],
    ) -> None:
        self._gate = gate
        self._marketplace = marketplace
        self._fleet = fleet
        self._secrets = secrets
        self._resumed = resumed
        self._changed = changed
        self._remedy = remedy
        self._wake = asyncio.Event()
        self._outage = Outage()
        self._reach = Reach()
        self._calls = OwnCalls()
        self._told: tuple[float, str] = (float("-inf"), "")
        self.state = BreakerState()

    @property
    def fault(self) -> Fault | None:
        """Why calls are stopped, or None."""
        return self.state.fault

    @property
    def refused(self) -> Fault | None:
        """Why this replica can't work; an outage that is everybody's is no fault of a replica."""
        return None if self._is_outage and not self.state.alone else self.state.fault

    @property
    def _is_outage(self) -> bool:
        """Whether AWS, which was reached before, is down or out of reach."""
        fault = self.state.fault
        if fault is None:
            return False
        return fault.code == aws_causes.OUTAGE or (self._reach.ever and aws_errors.may_pass(fault))

    def reached(self) -> None:
        """A request was sent to AWS, whatever became of it."""
        self._reach.reached()

    def answered(self, token: SystemicAnswers) -> None:
        """AWS answered for a token."""
        now = asyncio.get_running_loop().time()
        self._calls.answered(token)
        self._outage.answered(now)
        self.state.accepted(now)

    def systemic(self, token: SystemicAnswers) -> None:
        """AWS gave a token an answer that is about us, or claims to be."""
        self._calls.systemic(token)

    def failed(self, fault: Fault) -> None:
        """A call failed in passing; so many of them are an outage, which is not the tokens'."""
        if self._outage.failed(asyncio.get_running_loop().time()):
            self.open(aws_errors.outage(fault))

    def halted(self, fault: Fault) -> None:
        """A call met a fault of ours: stop, unless it may be that of one connection alone."""
        if not aws_errors.may_pass(fault) or self._reach.failed():
            self.open(fault)

    def open(self, fault: Fault) -> None:
        """Stop calls, unless they are stopped already."""
        fault = self._harmless(fault)
        if self.state.stop(fault, asyncio.get_running_loop().time()):
            remedy = self._remedy(fault.code, fault.message)
            log.error("calls_stopped", code=fault.code, reason=fault.message, remedy=remedy)
            self._gate.hold(holds.AWS, f"{fault.code}: {fault.message}")
            self._wake.set()

    async def check_identity(self, others_are_refused: bool) -> None:  # noqa: FBT001 - a state
        """Look whether AWS accepts us, before the first call.

        Args:
            others_are_refused: Only then is a call made for it.
        """
        fault = await self._marketplace.check_identity()
        if fault is None and others_are_refused:
            fault = await self._marketplace.probe()
        if fault is None:
            return
        if fault.kind is FaultKind.SYSTEMIC:
            self.open(fault)
        elif fault.kind is FaultKind.TRANSIENT and others_are_refused:
            # The outage that has stopped the others: no buyer's attempt need show it once more.
            self.open(aws_errors.outage(fault))

    def follow(self, lease: Lease) -> None:
        """Hear of the other replicas."""
        before = self.state.stands_aside
        now = asyncio.get_running_loop().time()
        if self.state.follow(lease.able, lease.accepted_elsewhere, now):
            self._wake.set()
        if self.state.stands_aside is not before:
            self._changed()

    async def run(self) -> None:
        """Probe whenever it is open, until cancelled."""
        while True:
            await self._until_due()
            try:
                if not self.state.needs_turn or await self._fleet.may_probe():
                    await self._probe()
                else:
                    await asyncio.sleep(_TURN_SECONDS)
            except LedgerUnavailable as error:
                # Nothing is called for without a ledger either.
                log.warning("fleet_not_reached", reason=str(error))
                await asyncio.sleep(_TURN_SECONDS)

    async def _until_due(self) -> None:
        clock = asyncio.get_running_loop().time
        while self.state.fault is None or self.state.next_probe_at > clock():
            seconds = None if self.state.fault is None else self.state.next_probe_at - clock()
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()

    async def _probe(self) -> None:
        clock = asyncio.get_running_loop().time
        asked = clock()
        fault = await self._marketplace.probe()
        if fault is None or fault.sent:
            self._reach.reached()
        if fault is None:
            self.state.accepted(clock())
            self._resume()
        else:
            self._refused(self._harmless(fault), asked)

    def _refused(self, fault: Fault, asked: float) -> None:
        if fault.kind is FaultKind.SYSTEMIC:  # no answer is no news of why we are refused
            self.state.fault = fault
            self._calls.ours()
        first = not self.state.refusal_confirmed
        now = asyncio.get_running_loop().time()
        self.state.refused(asked, now, random.random())  # noqa: S311 - spread
        self._tell(fault, now)
        if first:
            self._changed()

    def _tell(self, fault: Fault, now: float) -> None:
        """Say that it goes on: at once where there is news, else once a minute."""
        told_at, code = self._told
        if code != fault.code or now - told_at >= _TOLD_SECONDS:
            self._told = (now, fault.code)
            log.warning(
                "calls_still_stopped",
                code=fault.code,
                reason=fault.message,
                replicas_able=self.state.able,
            )

    def _harmless(self, fault: Fault) -> Fault:
        """A fault as it may be shown to all: an answer may repeat any token."""
        return replace(fault, message=self._secrets.hide(fault.message))

    def _resume(self) -> None:
        confirmed = self.state.refusal_confirmed
        self.state.resume()
        self._told = (float("-inf"), "")
        self._outage.over()
        log.info("calls_resumed", reason="a probe was accepted")
        if confirmed:
            self._resumed()
        self._gate.release(holds.AWS)
        if confirmed:
            self._changed()
