"""Carries decisions out: what is written, what is said, and only then the ack.

Every way on from here ends in the acks, so that no message is left without an ack and none is
acked before its time.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from worker.core.dead_letters import records
from worker.core.dead_letters.records import Sealed
from worker.core.records import Lane, Outcome, Status
from worker.core.token import outgoing, refused_rows, replies, verdict
from worker.core.token.incoming import envelope, is_derived
from worker.runtime.token.answered import Answered
from worker.runtime.token.in_flight import InFlight, InFlightToken, Stage, Waiter
from worker.runtime.token.malformed_log import MalformedLog
from worker.runtime.token.writer import PendingWrite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from worker.core.records import DeadLetter, Malformed
    from worker.core.token.incoming import Incoming
    from worker.core.token.verdict import Policy, RetryIn
    from worker.ports import Delivery, PublishFailure, Sealer, Telemetry
    from worker.runtime.clock import Clock
    from worker.runtime.token.acks import AckAfterConfirm
    from worker.runtime.token.writer import Writer


class Settlement:
    """Carries out what was decided for a token, or for a single message."""

    def __init__(
        self,
        *,
        in_flight: InFlight,
        writer: Writer,
        acks: AckAfterConfirm,
        sealer: Sealer,
        policy: Policy,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._in_flight = in_flight
        self._writer = writer
        self._acks = acks
        self._sealer = sealer
        self._policy = policy
        self._telemetry = telemetry
        self._told = Answered(telemetry, policy, clock)
        self._malformed_log = MalformedLog()

    def seal(self, incoming: Incoming) -> Sealed:
        """A message, sealed to the public key."""
        return Sealed(self._sealer.key_id, self._sealer.seal(envelope(incoming)))

    # --- a token's outcome ---

    def store(self, token: InFlightToken, outcome: Outcome) -> None:
        """Commit an outcome, then answer everybody who waits for it."""
        token.stage = Stage.WRITING
        leader, letter = token.leader, None
        if outcome.status is not Status.RESOLVED:
            letter = partial(self._letter_of, leader, outcome)
        write = PendingWrite(
            committed=partial(self._committed, token, outcome),
            refused=partial(self._refused, token, outcome),
            smaller=refused_rows.of_outcome(outcome, has_letter=letter is not None),
            outcome=outcome,
            letter=letter,
            unstored=lambda words: self._letter_of(leader, refused_rows.unstored(outcome, words)),
            size=len(leader.delivery.incoming.body),
        )
        self._writer.put(write)

    def settle_if_expired(self, token: InFlightToken) -> bool:
        """Settle a token that is past its lifetime, which needs no call; whether it was."""
        submission, now = token.leader.submission, self._clock.now()
        old = verdict.is_expired(submission.first_seen, now, self._policy, ages_count=True)
        if not (old and self._clock.ages_count):
            return False
        outcome = verdict.lifetime_exceeded(submission, now)
        self.store(token, replace(outcome, attempts=token.attempts))
        return True

    def answer(self, token: InFlightToken, outcome: Outcome, *, stored: bool) -> None:
        """Answer everybody who waits, without writing; `stored` if it is what the ledger has."""
        waiters = self._in_flight.finish(token)
        askers = [] if stored else _askers(waiters, outcome)
        for waiter in waiters:
            self._answer(waiter, outcome, called_for=waiter in askers)

    def _committed(
        self,
        token: InFlightToken,
        meant: Outcome,
        stored: Outcome | None,
        *,
        refusal: str | None = None,
    ) -> None:
        """Answer with the stored outcome.

        Another replica may have settled the token first; then the stored outcome is not `meant`,
        and is nobody's here. If the ledger refuses every row of it, what AWS said is answered all
        the same. Where the database takes no dead letter the first message is parked.
        """
        outcome = stored or meant
        ours = outcome.status is meant.status and outcome.settled_at == meant.settled_at
        waiters = self._in_flight.finish(token)
        askers = _askers(waiters, meant) if ours else []
        for place, waiter in enumerate(waiters):
            if verdict.wants_own_call(outcome, waiter.submission, late=waiter.late):
                self._return(waiter, waiter.submission.attempts)
            else:
                parked = _parked(waiter, refusal) if refusal and place == 0 else ()
                self._answer(waiter, outcome, called_for=waiter in askers, parked=parked)

    def _answer(
        self,
        waiter: Waiter,
        outcome: Outcome,
        *,
        called_for: bool,
        parked: tuple[outgoing.Outgoing, ...] = (),
    ) -> None:
        repeated = replies.is_repeat(waiter.submission, outcome, called_for=called_for)
        said = outgoing.answers(outcome, waiter.submission, repeated=repeated)
        done = partial(self._told.token, waiter, outcome, repeated=repeated)
        self._acks.put(waiter.delivery, said + parked, done)

    def _letter_of(self, waiter: Waiter, outcome: Outcome) -> DeadLetter:
        submission, incoming, lane = waiter.submission, waiter.delivery.incoming, waiter.lane.label
        return records.of_outcome(outcome, submission, incoming, lane, self.seal(incoming))

    def _refused(
        self, token: InFlightToken, meant: Outcome, words: str, stored: Outcome | None
    ) -> None:
        self._committed(token, meant, stored, refusal=words)

    # --- messages that can't be read, and those that the broker gave up ---

    def answer_malformed(
        self,
        malformed: Malformed,
        delivery: Delivery,
        lane: Lane,
        now: datetime,
        *,
        refusal: str | None = None,
    ) -> None:
        """Say that a message can't be read; it is recorded by now, else it is parked.

        Args:
            malformed: What may be said of it.
            delivery: Of the message.
            lane: That it came through.
            now: When it was found to be malformed.
            refusal: With which words the database refused its dead letter, if it did.
        """
        self._malformed_log.note(malformed)
        said = outgoing.malformed_answers(malformed, now)
        if refusal:
            said += (outgoing.park(delivery.incoming, malformed.message_id, refusal),)
        self._acks.put(delivery, said, partial(self._told.malformed, malformed, lane))

    def collected(self, delivery: Delivery) -> None:
        """A parked message is recorded; the broker may forget it."""
        self._acks.put(delivery, (), partial(self._telemetry.lost, replies.Loss.PARKED))

    # --- back to the broker ---

    def retry(self, token: InFlightToken, retry: RetryIn) -> None:
        """Into a retry queue, everybody who waits with the attempts that were spent.

        One that takes nothing, since it is full or gone, is given up: back into the lane then.
        """
        for waiter in self._in_flight.finish(token):
            message = outgoing.retry(
                waiter.submission,
                waiter.delivery.incoming,
                waiter.lane,
                retry.delay,
                attempts=token.attempts,
                counted=retry.counted,
            )
            back = outgoing.give_back(
                waiter.submission, waiter.delivery.incoming, waiter.lane, attempts=token.attempts
            )
            self._move(waiter, message, otherwise=back)

    def give_back(self, token: InFlightToken, waiters: Iterable[Waiter]) -> None:
        """Back into their lanes; the token ends with its last waiter, unless it has an answer."""
        for waiter in tuple(waiters):
            token.waiters.remove(waiter)
            self._return(waiter, token.attempts)
        if not token.waiters and token.stage is not Stage.WRITING:
            self._in_flight.finish(token)

    def take_up(self, waiter: Waiter) -> None:
        """Back into the lane in which it had expired, as it was."""
        self._return(waiter, waiter.submission.attempts)

    def _return(self, waiter: Waiter, attempts: int) -> None:
        message = outgoing.give_back(
            waiter.submission, waiter.delivery.incoming, waiter.lane, attempts=attempts
        )
        self._move(waiter, message)

    def demote(
        self,
        token: InFlightToken,
        lane: Lane,
        *,
        moved: Callable[[], None],
        refused: Callable[[Waiter, PublishFailure], None],
    ) -> None:
        """Into another lane with all that came through the live one, age and attempts kept.

        The others go on waiting; without any the token ends, so that a copy that comes meanwhile is
        a token of its own.

        Args:
            token: One that waits for its call.
            lane: Where to.
            moved: Called for each message that was moved.
            refused: Called for each that was not, which then has to join again.
        """
        live = [waiter for waiter in token.waiters if waiter.lane is Lane.LIVE]
        for waiter in live:
            token.waiters.remove(waiter)
            entered = waiter.submission.entry_lane or waiter.lane
            moved_on = replace(waiter.submission, entry_lane=entered)
            message = outgoing.give_back(
                moved_on, waiter.delivery.incoming, lane, attempts=token.attempts
            )
            done = partial(self._demoted, waiter, moved)
            self._acks.put(waiter.delivery, (message,), done, partial(refused, waiter))
        if not token.waiters:
            self._in_flight.finish(token)

    def _demoted(self, waiter: Waiter, moved: Callable[[], None]) -> None:
        self._telemetry.submission(waiter.lane)
        moved()

    def _move(
        self,
        waiter: Waiter,
        message: outgoing.Outgoing,
        otherwise: outgoing.Outgoing | None = None,
    ) -> None:
        done = partial(self._telemetry.submission, waiter.lane)
        self._acks.put(waiter.delivery, (message,), done, otherwise=otherwise)


def _askers(waiters: Iterable[Waiter], meant: Outcome) -> list[Waiter]:
    """For whom an outcome was made, as far as they wait: a message, and its own sent again."""
    of_it = [waiter for waiter in waiters if waiter.submission.message_id == meant.message_id]
    return of_it[:1] if is_derived(meant.message_id) else of_it


def _parked(waiter: Waiter, refusal: str) -> tuple[outgoing.Outgoing, ...]:
    message_id = waiter.submission.message_id
    return (outgoing.park(waiter.delivery.incoming, message_id, refusal),)
