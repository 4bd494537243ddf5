"""One replica's runtime, put together. Nothing runs or connects before `Pipeline.run`.

Read `worker.runtime.token` for the way of a token.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core.rate.fleet import NOTHING_IN_HAND, ReplicaState
from worker.core.rate.usage import Usage
from worker.core.records import Lane
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
from worker.runtime.token.give_back import GiveBack
from worker.runtime.token.in_flight import InFlight
from worker.runtime.token.intake import Intake
from worker.runtime.token.pipeline import Pipeline
from worker.runtime.token.pool import Pool
from worker.runtime.token.settlement import Settlement
from worker.runtime.token.waiting import WaitingRoom
from worker.runtime.token.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.rate.fleet import Lease
    from worker.core.token.verdict import Policy
    from worker.ports import (
        ConfirmedPublisher,
        Fleet,
        Ledger,
        Marketplace,
        Outbox,
        Sealer,
        Secrets,
        Telemetry,
    )


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside, as the runtime needs it."""

    ledger: Ledger
    fleet: Fleet
    marketplace: Marketplace
    publisher: ConfirmedPublisher
    outbox: Outbox
    sealer: Sealer
    secrets: Secrets
    telemetry: Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an operator decides, and what the runtime asks and reports in the process.

    Attributes:
        policy: The rules for trying again.
        concurrency: Calls in flight at most.
        patience_seconds: How long a buyer is taken to wait.
        remedy: What to do about a fault, by its code and words; for the log.
        report_lease: Called with why there has been no lease for a while, or None.
        aside_changed: Called when the replica begins or ceases to stand aside.
        suspected: How many messages are handled apart from all others.
        queued: How many messages wait in a lane's queue; None while that is unknown.
        unacked: How many messages of a lane are in hand.
    """

    policy: Policy
    concurrency: int
    patience_seconds: float
    remedy: Callable[[str, str], str]
    report_lease: Callable[[str | None], None] = lambda _: None
    aside_changed: Callable[[], None] = lambda: None
    suspected: Callable[[], int] = lambda: 0
    queued: Callable[[Lane], int | None] = lambda _: 0
    unacked: Callable[[Lane], int] = lambda _: 0


class Replica:
    """All parts of one replica.

    Attributes:
        gate: Why calls are held, if they are.
        clock: What time it is for everything that is stored.
        pacer: The pace of calls.
        breaker: Whether AWS refuses this replica.
        events: Events that a queue has refused, and that wait.
        lease_keeper: This replica's lease of the shared rate.
        demoter: Who moves tokens out of the live lane, by a patience that is changeable.
        pipeline: All of it, to be run.
        in_hand_elsewhere: Live messages that other replicas have in hand.
    """

    def __init__(self, ports: Ports, plan: Plan) -> None:
        self._ports = ports
        self._plan = plan
        self.gate = Gate()
        self.in_hand_elsewhere = NOTHING_IN_HAND
        self.clock = Clock(ports.marketplace.clock)
        self._usage = Usage(since=asyncio.get_running_loop().time())
        self.pacer = Pacer(ports.fleet, self._usage)
        self._answers = AnswerLog(ports.telemetry)
        self.events = EventOutbox(ports.outbox, ports.publisher, self._answers)
        self.breaker = Breaker(
            gate=self.gate,
            marketplace=ports.marketplace,
            fleet=ports.fleet,
            secrets=ports.secrets,
            resumed=self.pacer.resume,
            changed=self._breaker_changed,
            remedy=plan.remedy,
        )
        self.lease_keeper = LeaseKeeper(
            fleet=ports.fleet,
            usage=self._usage,
            gate=self.gate,
            state=self._state,
            follow=self._follow,
            check_identity=self.breaker.check_identity,
            report=plan.report_lease,
        )
        self._assemble()

    def _assemble(self) -> None:
        """The way of a token, from its end to its beginning."""
        in_flight = InFlight()
        writer = Writer(self._ports.ledger, self.gate, self._ports.telemetry)
        acks = AckAfterConfirm(self._ports.publisher, self.events, self._answers)
        settlement = self._settlement(in_flight, writer, acks)
        waiting = WaitingRoom(settlement.settle_if_expired)
        self.demoter = Demoter(
            waiting=waiting,
            in_flight=in_flight,
            settlement=settlement,
            gate=self.gate,
            limits=lambda: self.pacer.limits,
            rate=self.pacer.local,
            behind_seconds=self._behind_seconds,
            patience_seconds=self._plan.patience_seconds,
            clock=self.clock,
        )
        self.pipeline = Pipeline(
            intake=self._intake(in_flight, waiting, writer, settlement),
            pool=self._pool(waiting, settlement),
            writer=writer,
            acks=acks,
            events=self.events,
            breaker=self.breaker,
            demoter=self.demoter,
            give_back=GiveBack(in_flight, settlement, lambda: self.breaker.state.stands_aside),
            lease_keeper=self.lease_keeper,
            in_flight=in_flight,
            gate=self.gate,
            clock=self.clock,
        )

    def _settlement(self, in_flight: InFlight, writer: Writer, acks: AckAfterConfirm) -> Settlement:
        return Settlement(
            in_flight=in_flight,
            writer=writer,
            acks=acks,
            sealer=self._ports.sealer,
            policy=self._plan.policy,
            telemetry=self._ports.telemetry,
            clock=self.clock,
        )

    def _intake(
        self, in_flight: InFlight, waiting: WaitingRoom, writer: Writer, settlement: Settlement
    ) -> Intake:
        return Intake(
            ledger=self._ports.ledger,
            in_flight=in_flight,
            waiting=waiting,
            writer=writer,
            settlement=settlement,
            secrets=self._ports.secrets,
            policy=self._plan.policy,
            telemetry=self._ports.telemetry,
            clock=self.clock,
        )

    def _pool(self, waiting: WaitingRoom, settlement: Settlement) -> Pool:
        return Pool(
            waiting=waiting,
            marketplace=self._ports.marketplace,
            breaker=self.breaker,
            gate=self.gate,
            pacer=self.pacer,
            usage=self._usage,
            budget=RetryBudget(),
            settlement=settlement,
            policy=self._plan.policy,
            telemetry=self._ports.telemetry,
            concurrency=self._plan.concurrency,
            clock=self.clock,
            secrets=self._ports.secrets,
        )

    def _behind_seconds(self) -> float:
        """How long the fleet will take to call for all that waits in the live queue by now."""
        rate = self.pacer.shared
        return (self._plan.queued(Lane.LIVE) or 0) / rate if rate else 0.0

    # --- what replicas tell each other ---

    def _state(self, now: float) -> ReplicaState:
        """What the other replicas learn of this one."""
        breaker = self.breaker.state
        since = now - breaker.since if breaker.refusal_confirmed else 0.0
        accepted = None if breaker.accepted_at is None else now - breaker.accepted_at
        live = self._unsettled(Lane.LIVE)
        return ReplicaState(
            identity=self._ports.marketplace.identity(),
            refusal=breaker.fault if breaker.refusal_confirmed else None,
            refused_seconds=since,
            probes=breaker.probes,
            accepted_seconds=accepted,
            suspected=self._plan.suspected(),
            skew_seconds=self.clock.skew_seconds,
            in_hand={
                lane.label: (self._plan.unacked(lane), round(self.pipeline.oldest_seconds(lane), 1))
                for lane in Lane
            },
            concurrency=self._plan.concurrency,
            live=None if live is None else live + self.in_hand_elsewhere.messages,
            bulk=self._unsettled(Lane.BACKLOG, Lane.CROWD),
        )

    def _unsettled(self, *lanes: Lane) -> int | None:
        """Messages of lanes that wait in a queue or are in hand here; None while unknown."""
        queued = [each for each in map(self._plan.queued, lanes) if each is not None]
        if len(queued) < len(lanes):
            return None
        return sum(queued) + sum(map(self._plan.unacked, lanes))

    def _follow(self, lease: Lease, asked_at: float) -> None:
        """Pass on what a lease says of the others, as it was after `asked_at` (loop time)."""
        if lease.clock is not None:
            self.clock.measured(lease.clock)
        self.pacer.follow(lease)
        self.breaker.follow(lease)
        self.events.follow(lease.outbox_keys, asked_at)
        self.in_hand_elsewhere = lease.live_elsewhere

    def _breaker_changed(self) -> None:
        self.lease_keeper.hurry()
        self.pipeline.give_back.wake()
        self._plan.aside_changed()
