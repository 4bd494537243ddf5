"""The way in: deliveries are read, joined with their copies, and looked up in the ledger."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import backoff
from worker.core.dead_letters import records
from worker.core.exceptions import LedgerUnavailable
from worker.core.records import Malformed
from worker.core.token import headers, parked, refused_rows, verdict
from worker.core.token.submissions import parse
from worker.core.token.verdict import Call, Policy, Repeat, Store
from worker.runtime.token.batch_queue import BatchQueue
from worker.runtime.token.in_flight import InFlight, InFlightToken, Waiter
from worker.runtime.token.oddity_log import OddityLog
from worker.runtime.token.writer import PendingWrite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from worker.core.records import DeadLetter, Lane, Outcome, Submission, TokenKey
    from worker.core.token.submissions import Ignored
    from worker.ports import Delivery, Ledger, Secrets, Telemetry
    from worker.runtime.clock import Clock
    from worker.runtime.token.settlement import Settlement
    from worker.runtime.token.waiting import WaitingRoom
    from worker.runtime.token.writer import Writer

log: Final = structlog.get_logger()

_PARKED_AGAIN: Final = backoff.FullJitter(base_seconds=5.0, cap_seconds=60.0)
_TURN_SECONDS: Final = 0.02  # the slowest message takes about as long


class Intake:
    """Reads what is delivered, and hands on each token to be called for or answered."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        in_flight: InFlight,
        waiting: WaitingRoom,
        writer: Writer,
        settlement: Settlement,
        secrets: Secrets,
        policy: Policy,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._in_flight = in_flight
        self._waiting = waiting
        self._writer = writer
        self._settlement = settlement
        self._secrets = secrets
        self._policy = policy
        self._oddities = OddityLog(telemetry)
        self._deliveries: BatchQueue[Delivery] = BatchQueue()
        self._unread: deque[Delivery] = deque()

    def deliver(self, delivery: Delivery) -> None:
        """Take a delivery from the broker; the broker's prefetch bounds how many wait here."""
        self._deliveries.put(delivery)

    async def run(self) -> None:
        """Take in until cancelled."""
        while True:
            self._unread.extend(await self._deliveries.batch())
            if fresh := await self._joined():
                await self._look_up(fresh)

    def join_rest(self) -> None:
        """Read all that was delivered and not yet read, without looking anything up."""
        self._take_rest()
        while self._unread:
            self._join(self._unread.popleft())

    def _take_rest(self) -> None:
        while batch := self._deliveries.take():
            self._unread.extend(batch)

    async def _joined(self) -> list[InFlightToken]:
        """Join what is unread; the tokens that begin with it. Other tasks have turns in between.

        What is unread stays where `join_rest` finds it, if a drain comes in between.
        """
        clock = asyncio.get_running_loop().time
        fresh: list[InFlightToken] = []
        turn_ends = clock() + _TURN_SECONDS
        while self._unread:
            if token := self._join(self._unread.popleft()):
                fresh.append(token)
            if clock() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = clock() + _TURN_SECONDS
        return fresh

    def _join(self, delivery: Delivery) -> InFlightToken | None:
        """The new token of a live delivery, unless it is unreadable, parked, or joined another."""
        if not delivery.alive:
            return None
        now = self._clock.now()
        lane = delivery.lane or parked.lane_of(delivery.incoming)
        if lane is None:
            delivery.shorten()
            collected = partial(self._settlement.collected, delivery)
            self._put_parked(delivery, collected, headers.refusal(delivery.incoming))
            return None
        message, ignored = parse(delivery.incoming, now)
        self._note_oddities(message, delivery, ignored)
        if isinstance(message, Malformed):
            delivery.shorten(message.body_sha256)
            self._writer.put(self._malformed(message, delivery, lane, now))
            return None
        self._secrets.add(message.token.value)
        return self._join_lane(Waiter(message, delivery, lane), now)

    def _join_lane(self, waiter: Waiter, now: datetime) -> InFlightToken | None:
        submission, delivery = waiter.submission, waiter.delivery
        if delivery.lane is None and parked.goes_back(delivery.incoming):
            first_seen, counts = submission.first_seen, self._clock.ages_count
            if not verdict.is_expired(first_seen, now, self._policy, ages_count=counts):
                self._settlement.take_up(waiter)
                return None
        token = self._in_flight.join(waiter)
        if token is None and (joined := self._in_flight.of(submission.key)):
            self._waiting.promote(joined)
        return token

    def _note_oddities(
        self, message: Submission | Malformed, delivery: Delivery, ignored: Ignored
    ) -> None:
        incoming = delivery.incoming
        expired = parked.goes_back(incoming)
        for what, is_so in (
            ("headers", incoming.headers_unread),
            ("reply_to", ignored.reply_to_ignored),
            ("received_at", ignored.received_at_ignored),
            ("source", ignored.source_ignored),
            ("expiration", delivery.lane is None and expired),
            ("overflow", delivery.lane is None and not expired),
        ):
            if is_so:
                self._oddities.note(what, message.message_id, headers.caller(incoming))

    async def _look_up(self, fresh: list[InFlightToken]) -> None:
        in_flight, known = await self._recall(fresh)
        now, counts = self._clock.now(), self._clock.ages_count
        for token in in_flight:
            if token.waiters:
                submission, stored = token.leader.submission, known.get(token.key)
                self._route(
                    token,
                    verdict.before_call(submission, stored, now, self._policy, ages_count=counts),
                )

    def _route(self, token: InFlightToken, decided: Call | Repeat | Store) -> None:
        match decided:
            case Repeat(outcome, stored):
                self._settlement.answer(token, outcome, stored=stored)
            case Store(outcome):
                self._settlement.store(token, outcome)
            case Call(first_seen):
                token.older(first_seen)
                self._waiting.join(token)

    async def _recall(
        self, in_flight: list[InFlightToken]
    ) -> tuple[list[InFlightToken], Mapping[TokenKey, Outcome]]:
        """Ask the ledger, however long it is away; meanwhile nothing is called for.

        What is delivered meanwhile is taken in, so that it too is given back in time.
        """
        failures = 0
        while True:
            try:
                return in_flight, await self._ledger.find_outcomes(
                    [token.key for token in in_flight]
                )
            except LedgerUnavailable as error:
                failures += 1
                delay = backoff.RECONNECT.delay(failures, random.random())  # noqa: S311 - spread
                log.error("ledger_unreadable", reason=str(error), again_in_seconds=round(delay, 2))
                await asyncio.sleep(delay)
                waiting = [token for token in in_flight if token.waiters]
                self._take_rest()
                in_flight = waiting + await self._joined()

    def _malformed(
        self, malformed: Malformed, delivery: Delivery, lane: Lane, now: datetime
    ) -> PendingWrite:
        def letter() -> DeadLetter:
            sealed = self._settlement.seal(delivery.incoming)
            return records.of_malformed(malformed, delivery.incoming, lane.label, sealed, now)

        answer = partial(self._settlement.answer_malformed, malformed, delivery, lane, now)
        return PendingWrite(
            committed=lambda _: answer(),
            refused=lambda words, _: self._refused(delivery, answer, words),
            smaller=refused_rows.of_malformed(),
            letter=letter,
            size=len(delivery.incoming.body),
            wanted=lambda: delivery.alive,
            malformed=malformed,
        )

    def _refused(self, delivery: Delivery, answer: Callable[..., None], words: str) -> None:
        """Answer, and leave the message to the collector of parked ones, if it is whole."""
        if delivery.incoming.whole is None:
            answer(refusal=words)
        else:
            self._put_parked(delivery, answer, words)

    def _put_parked(
        self,
        delivery: Delivery,
        committed: Callable[[], None],
        refusal: str | None,
        failures: int = 0,
    ) -> None:
        now = self._clock.now()

        def letter() -> DeadLetter:
            sealed = self._settlement.seal(delivery.incoming)
            return records.of_parked(delivery.incoming, sealed, now, refusal)

        def again(*_: object) -> None:
            """Write it again, ever less often: there is nowhere else that it could go."""
            delay = _PARKED_AGAIN.bound(failures + 1)
            put = partial(self._put_parked, delivery, committed, refusal, failures + 1)
            asyncio.get_running_loop().call_later(delay, put)

        self._writer.put(
            PendingWrite(
                committed=lambda _: committed(),
                refused=again,
                letter=letter,
                size=len(delivery.incoming.body),
                wanted=lambda: delivery.alive,
            )
        )
