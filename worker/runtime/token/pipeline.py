"""The way of a token, put together: intake, pool, writer, acks, and what watches over them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.rate.usage import Usage
from worker.core.token.prefetch import GIVE_BACK_SECONDS
from worker.core.token.retry_budget import RetryBudget
from worker.runtime.clock import Clock
from worker.runtime.gate import Gate
from worker.runtime.rate.lease_keeper import LeaseKeeper
from worker.runtime.rate.pacer import Pacer
from worker.runtime.token.acks import AckAfterConfirm
from worker.runtime.token.answer_log import AnswerLog
from worker.runtime.token.breaker import Breaker
from worker.runtime.token.demotion import Demoter
from worker.runtime.token.event_outbox import EventOutbox
from worker.runtime.token.in_flight import InFlight, Stage
from worker.runtime.token.intake import Intake
from worker.runtime.token.pool import Pool
from worker.runtime.token.settlement import Settlement
from worker.runtime.token.waiting import Pending, WaitingRoom
from worker.runtime.token.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.core.records import Lane
    from worker.core.token.verdict import Policy
    from worker.ports import (
        ConfirmedPublisher,
        Delivery,
        Fleet,
        Ledger,
        Marketplace,
        Outbox,
        Sealer,
        Secrets,
        Telemetry,
    )

log: Final = structlog.get_logger()

_SWEEP_SECONDS: Final = 5.0
_ASIDE_SECONDS: Final = 0.25  # what comes in before the lanes are held is given back too
_UNCALLED: Final = frozenset({Stage.LOOKUP, Stage.WAITING})
_GIVING_BACK_SHARE: Final = 0.2  # of the drain's time, kept for giving back what did not finish
_LEAVING_SHARE: Final = 0.05
_SHUTTING_DOWN: Final = "shutting down"


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside, as the pipeline needs it."""

    ledger: Ledger
    fleet: Fleet
    marketplace: Marketplace
    publisher: ConfirmedPublisher
    outbox: Outbox
    sealer: Sealer
    secrets: Secrets
    telemetry: Telemetry


class Pipeline:
    """Everything between a delivery and its ack.

    Attributes:
        gate: Why calls are held, if they are.
        clock: What time it is for everything that is stored.
        breaker: Whether AWS refuses this replica.
        pacer: The pace of calls.
        lease_keeper: This replica's part in the fleet.
        events: Events that wait for an observer.
        demoter: Who lets waiting buyers overtake, by a patience that is changeable.
        calling: How many calls are in flight.
        turned: Called when `stands_aside` may have changed.
    """

    def __init__(
        self,
        ports: Ports,
        policy: Policy,
        *,
        concurrency: int,
        patience_seconds: float,
        remedy: Callable[[str, str], str],
        calls_changed: Callable[[int], None] = lambda _: None,
        give_back_seconds: float = GIVE_BACK_SECONDS,
    ) -> None:
        telemetry = ports.telemetry
        self.gate = Gate()
        self.clock = clock = Clock(ports.marketplace.clock)
        usage = Usage(since=asyncio.get_running_loop().time())
        self.pacer = Pacer(ports.fleet, usage)
        self.breaker = Breaker(
            gate=self.gate,
            marketplace=ports.marketplace,
            fleet=ports.fleet,
            secrets=ports.secrets,
            resumed=self.pacer.resume,
            changed=self._turn,
            remedy=remedy,
        )
        answers = AnswerLog(telemetry)
        self.events = EventOutbox(ports.outbox, ports.publisher, answers)
        self.lease_keeper = LeaseKeeper(
            fleet=ports.fleet,
            marketplace=ports.marketplace,
            usage=usage,
            pacer=self.pacer,
            breaker=self.breaker,
            gate=self.gate,
            clock=clock,
            events=self.events,
        )
        self.calling = Pending(calls_changed)
        self._in_flight = InFlight()
        self._waiting = WaitingRoom()
        self._writer = Writer(ports.ledger, self.gate, telemetry)
        self._acks = AckAfterConfirm(ports.publisher, self.events, answers)
        self._settlement = Settlement(
            in_flight=self._in_flight,
            writer=self._writer,
            acks=self._acks,
            sealer=ports.sealer,
            policy=policy,
            telemetry=telemetry,
            clock=clock,
        )
        self._intake = Intake(
            ledger=ports.ledger,
            in_flight=self._in_flight,
            waiting=self._waiting,
            writer=self._writer,
            settlement=self._settlement,
            secrets=ports.secrets,
            policy=policy,
            telemetry=telemetry,
            clock=clock,
        )
        self._pool = Pool(
            waiting=self._waiting,
            marketplace=ports.marketplace,
            breaker=self.breaker,
            gate=self.gate,
            pacer=self.pacer,
            usage=usage,
            budget=RetryBudget(),
            settlement=self._settlement,
            policy=policy,
            telemetry=telemetry,
            concurrency=concurrency,
            calling=self.calling,
            clock=clock,
            secrets=ports.secrets,
        )
        self.demoter = Demoter(
            waiting=self._waiting,
            in_flight=self._in_flight,
            settlement=self._settlement,
            gate=self.gate,
            limits=lambda: self.pacer.limits,
            rate=self.pacer.local,
            patience_seconds=patience_seconds,
            clock=clock,
        )
        self._give_back_seconds = give_back_seconds
        self._calls: asyncio.Task[None] | None = None
        self._leasing: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()
        self._turned = asyncio.Event()
        self.turned: Callable[[], None] = lambda: None

    @property
    def stands_aside(self) -> bool:
        """Whether tokens are better left to other replicas, for AWS refuses this one alone."""
        return self.breaker.state.stands_aside

    def _turn(self) -> None:
        self.lease_keeper.hurry()
        self._turned.set()
        self.turned()

    def deliver(self, delivery: Delivery) -> None:
        """Take a delivery from the broker."""
        self._intake.deliver(delivery)

    def drop_dead(self) -> None:
        """Forget what the broker hands out anew: its channel is gone, or it was returned."""
        self._in_flight.drop_dead()
        self._writer.drop_unwanted()

    def oldest_seconds(self, lane: Lane) -> float:
        """Age of the oldest token of a lane in hand; 0 without any."""
        received = [
            waiter.submission.received_at
            for token in self._in_flight
            for waiter in token.waiters
            if waiter.lane is lane
        ]
        return (self.clock.now() - min(received)).total_seconds() if received else 0.0

    async def run(self) -> None:
        """Work until drained or cancelled."""
        async with asyncio.TaskGroup() as group:
            self._calls = group.create_task(self._pool.run(), name="pool")
            self._leasing = group.create_task(self.lease_keeper.run(), name="lease_keeper")
            tasks = [
                self._calls,
                self._leasing,
                group.create_task(self._intake.run(), name="intake"),
                group.create_task(self._writer.run(), name="writer"),
                group.create_task(self._acks.run(), name="acks"),
                group.create_task(self.events.run(), name="outbox"),
                group.create_task(self.breaker.run(), name="breaker"),
                group.create_task(self.demoter.run(), name="overtaking"),
                group.create_task(self._sweep(), name="sweep"),
            ]
            await self._drained.wait()
            for task in tasks:
                task.cancel()

    async def _sweep(self) -> None:
        """Give back what was held too long, and all that others can call for and we can't."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_ASIDE_SECONDS if self.stands_aside else _SWEEP_SECONDS):
                    await self._turned.wait()
            self._turned.clear()
            if self.stands_aside:
                self._give_back(_UNCALLED, "AWS refuses this replica and accepts others")
            self._give_back_stale()

    def _give_back_stale(self) -> None:
        """What can't be put back into its lane in time, the consumer returns to its queue."""
        before = asyncio.get_running_loop().time() - self._give_back_seconds
        self._in_flight.drop_dead()  # what died during its call, and waits for another
        given_back = 0
        for token in self._in_flight:
            stale = [waiter for waiter in token.waiters if waiter.delivery.arrived < before]
            if stale and token.stage is not Stage.CALLING:
                given_back += len(stale)
                self._settlement.give_back(token, stale)
        if given_back:
            log.info("given_back", reason="held too long", submissions=given_back)

    # --- drain ---

    async def drain(self, seconds: float) -> None:
        """Finish what is in flight, give the rest back, and end `run`; all within the bound.

        To be called once nothing is delivered any more.

        Args:
            seconds: The bound. What could be neither finished nor given back by then stays
                unacked, and the broker hands it out anew.
        """
        self.gate.shut("drain", "the worker is shutting down")
        if self._leasing is not None:
            self._leasing.cancel()
        self._intake.join_rest()
        self._give_back(_UNCALLED, _SHUTTING_DOWN)
        if not await self._within(seconds * (1 - _GIVING_BACK_SHARE), self._finish(seconds)):
            if self._calls is not None:
                self._calls.cancel()
                await asyncio.wait([self._calls])
            self._give_back(frozenset(Stage), _SHUTTING_DOWN)
            await self._within(seconds * _GIVING_BACK_SHARE, self._acks.pending.none())
        self._drained.set()

    async def _finish(self, seconds: float) -> None:
        await self._within(seconds * _LEAVING_SHARE, self.lease_keeper.leave())
        await self.calling.none()
        self._give_back(_UNCALLED, _SHUTTING_DOWN)  # what would have been called for once more
        await self._writer.pending.none()
        await self._acks.pending.none()

    def _give_back(self, stages: frozenset[Stage], reason: str) -> None:
        chosen = [token for token in self._in_flight if token.stage in stages]
        submissions = sum(len(token.waiters) for token in chosen)
        if submissions:
            log.info("given_back", reason=reason, submissions=submissions)
        for token in chosen:
            self._settlement.give_back(token, token.waiters)

    @staticmethod
    async def _within(seconds: float, finishing: Awaitable[None]) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await finishing
                return True
        return False
