"""Calls: at most so many at once, each with a permit, and each judged when it returns."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import aws_errors, backoff
from worker.core.records import Answer, Fault, FaultKind
from worker.core.token import verdict
from worker.core.token.verdict import Halt, Policy, RetryIn, Store, TryAgain
from worker.runtime.pending import Pending
from worker.runtime.token.in_flight import InFlightToken, Stage

if TYPE_CHECKING:
    from worker.core.rate.usage import Usage
    from worker.core.records import Outcome
    from worker.core.token.retry_budget import RetryBudget
    from worker.ports import Marketplace, Secrets, Telemetry
    from worker.runtime.clock import Clock
    from worker.runtime.gate import Gate
    from worker.runtime.rate.pacer import Pacer
    from worker.runtime.token.breaker import Breaker
    from worker.runtime.token.settlement import Settlement
    from worker.runtime.token.waiting import WaitingRoom

log: Final = structlog.get_logger()


class Pool:
    """Takes tokens from the waiting room, calls AWS for them and acts on the verdict.

    Attributes:
        calling: How many calls are in flight.
    """

    def __init__(
        self,
        *,
        waiting: WaitingRoom,
        marketplace: Marketplace,
        breaker: Breaker,
        gate: Gate,
        pacer: Pacer,
        usage: Usage,
        budget: RetryBudget,
        settlement: Settlement,
        policy: Policy,
        telemetry: Telemetry,
        concurrency: int,
        clock: Clock,
        secrets: Secrets,
    ) -> None:
        self._secrets = secrets
        self._clock = clock
        self._waiting = waiting
        self._marketplace = marketplace
        self._breaker = breaker
        self._gate = gate
        self._pacer = pacer
        self._usage = usage
        self._budget = budget
        self._settlement = settlement
        self._policy = policy
        self._telemetry = telemetry
        self._slots = asyncio.Semaphore(concurrency)
        self.calling = Pending()

    async def run(self) -> None:
        """Call until cancelled; calls in flight are cancelled with it."""
        async with asyncio.TaskGroup() as calls:
            while True:
                await self._slots.acquire()
                token = await self._next()
                token.stage = Stage.CALLING
                self.calling.add(1)
                calls.create_task(self._call(token))

    async def _next(self) -> InFlightToken:
        """The next token to call for, chosen at the last moment, with a permit in hand."""
        while True:
            await self._waiting.wait()
            await self._gate.wait_open()
            await self._pacer.permit()
            await self._gate.wait_open()
            if token := self._waiting.next():
                return token

    async def _call(self, token: InFlightToken) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        if token.first_call is None:
            token.first_call = began
        try:
            result = await self._resolve(token)
        finally:
            self.calling.add(-1)
            self._slots.release()
        seconds = loop.time() - began
        self._telemetry.call(label(result), seconds)
        self._usage.ended(seconds)
        self._learn(token, result)
        self._act(token, result)

    async def _resolve(self, token: InFlightToken) -> Answer | Fault:
        try:
            return await self._marketplace.resolve(token.leader.submission.token)
        except Exception as error:
            # A defect of ours that one token meets must not end the process, and with it all the
            # others: the attempts bound it, and the dead letter names it.
            log.exception("call_failed_unforeseen", fingerprint=token.key.sha256[:8].hex())
            return aws_errors.unforeseen(type(error).__name__)

    def _learn(self, token: InFlightToken, result: Answer | Fault) -> None:
        """Count what the call shows about its token, and about all."""
        self._budget.called()
        token.attempts += verdict.counts(result)
        if isinstance(result, Answer) or result.sent:
            self._breaker.reached()
        if isinstance(result, Answer):
            self._answered(token)
            return
        token.failures += 1
        match result.kind:
            case FaultKind.TOKEN:
                self._answered(token)
            case FaultKind.THROTTLED:
                self._usage.refused(token.key, asyncio.get_running_loop().time())
                self._pacer.throttled()
            case FaultKind.TRANSIENT:
                self._not_throttled()
                self._breaker.failed(result)
            case FaultKind.SYSTEMIC:
                self._not_throttled()
                if result.sent:  # otherwise it says nothing about the token, however often
                    self._breaker.systemic(token.systemic)

    def _answered(self, token: InFlightToken) -> None:
        self._not_throttled()
        self._breaker.answered(token.systemic)

    def _not_throttled(self) -> None:
        """AWS has not said that there are too many calls."""
        self._usage.not_throttled()
        self._pacer.not_throttled()

    def _act(self, token: InFlightToken, result: Answer | Fault) -> None:
        loop = asyncio.get_running_loop()
        match verdict.after_call(
            token.leader.submission,
            result,
            token.tries(loop.time()),
            now=self._clock.now(),
            draw=random.random(),  # noqa: S311 - spreads retries, keeps no secret
            policy=self._policy,
            affordable=self._budget.affordable,
        ):
            case Store(outcome):
                self._settlement.store(token, self._harmless(outcome))
            case TryAgain(seconds):
                if _is_transient(result):
                    self._budget.withdraw()
                self._telemetry.retry(label(result))
                self._waiting.join_later(token, seconds)
            case RetryIn() as retry:
                self._telemetry.retry(label(result))
                self._settlement.retry(token, retry)
            case Halt(fault):
                self._breaker.halted(fault)
                # After a while: if the fault is this token's own, the others must get past it.
                self._waiting.join_later(token, backoff.HALTED.bound(token.failures))

    def _harmless(self, outcome: Outcome) -> Outcome:
        """An outcome as it may be stored: an answer may repeat any token."""
        if outcome.error_message is None:
            return outcome
        return replace(outcome, error_message=self._secrets.hide(outcome.error_message))


def _is_transient(result: Answer | Fault) -> bool:
    return isinstance(result, Fault) and result.kind is FaultKind.TRANSIENT


def label(result: Answer | Fault) -> str:
    """A result as the metrics name it."""
    return "ok" if isinstance(result, Answer) else result.kind.value
