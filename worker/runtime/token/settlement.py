"""Carries decisions out: what is written, what is said, and only then the ack.

Every way on from here ends in the acks, so that no message is left without an ack and none is
acked before its time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.dead_letters import records
from worker.core.dead_letters.records import Sealed
from worker.core.records import Lane, Outcome, Status
from worker.core.token import messages, outgoing, verdict
from worker.runtime.token.in_flight import Flight, Flights, Party, Stage
from worker.runtime.token.malformed_log import MalformedLog
from worker.runtime.token.writer import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from worker.core.records import DeadLetter, Malformed
    from worker.core.token.messages import Incoming
    from worker.core.token.verdict import Policy, RetryIn
    from worker.ports import Delivery, NotConfirmed, Sealer, Telemetry
    from worker.runtime.clock import Clock
    from worker.runtime.token.acks import AckAfterConfirm
    from worker.runtime.token.writer import Writer

log: Final = structlog.get_logger()


class Settlement:
    """What becomes of flights and of single messages, once it is decided."""

    def __init__(
        self,
        *,
        flights: Flights,
        writer: Writer,
        acks: AckAfterConfirm,
        sealer: Sealer,
        policy: Policy,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._flights = flights
        self._writer = writer
        self._acks = acks
        self._sealer = sealer
        self._policy = policy
        self._telemetry = telemetry
        self._malformed_log = MalformedLog()

    def seal(self, incoming: Incoming) -> Sealed:
        """A message, sealed to the public key."""
        return Sealed(self._sealer.key_id, self._sealer.seal(messages.envelope(incoming)))

    # --- a token's outcome ---

    def store(self, flight: Flight, outcome: Outcome) -> None:
        """Commit an outcome, then answer everybody who waits for it."""
        flight.stage = Stage.WRITING
        entry = Entry(
            stands=partial(self._stands, flight, outcome),
            refused=partial(self._refused, flight, outcome),
            outcome=outcome,
            letter=self._letter(flight.leader, outcome),
            size=len(flight.leader.delivery.incoming.body),
        )
        self._writer.put(entry)

    def answer(self, flight: Flight, outcome: Outcome, *, repeated: bool) -> None:
        """Answer everybody who waits, without writing."""
        for party in self._flights.land(flight):
            self._answer(party, outcome, repeated=repeated)

    def _stands(self, flight: Flight, meant: Outcome, standing: Outcome | None) -> None:
        """Answer with what stands: ours for who asked first, a repeated answer for the rest."""
        stood = standing or meant
        ours = stood.status is meant.status and stood.settled_at == meant.settled_at
        for place, party in enumerate(self._flights.land(flight)):
            if verdict.wants_own_call(stood, party.submission, late=party.late):
                self._return(party, party.submission.attempts)
            else:
                self._answer(party, stood, repeated=place > 0 or not ours)

    def _answer(self, party: Party, outcome: Outcome, *, repeated: bool) -> None:
        said = outgoing.answers(outcome, party.submission, repeated=repeated)
        done = partial(self._answered, party, outcome, repeated)
        self._acks.put(party.delivery, said, done)

    def _answered(self, party: Party, outcome: Outcome, repeated: bool) -> None:  # noqa: FBT001
        waited = (self._clock.now() - party.submission.received_at).total_seconds()
        self._telemetry.submission(party.lane)
        self._telemetry.outcome(outcome.status, party.lane, repeated=repeated, waited=waited)
        log.debug(
            "token_settled",
            message_id=party.submission.message_id,
            fingerprint=party.submission.token.fingerprint,
            status=outcome.status.value,
            error_code=outcome.error_code,
            repeated=repeated,
            waited_seconds=round(waited, 3),
        )

    def _letter(self, party: Party, outcome: Outcome) -> Callable[[], DeadLetter] | None:
        if outcome.status is Status.RESOLVED:
            return None
        submission, incoming, lane = party.submission, party.delivery.incoming, party.lane.label
        return lambda: records.of_outcome(outcome, submission, incoming, lane, self.seal(incoming))

    # --- a row that the database refuses for its data ---

    def _refused(self, flight: Flight, outcome: Outcome, words: str) -> None:
        """Settle as dead with what surely fits; if that is refused too, wait and try again."""
        if not flight.parties:
            self._flights.land(flight)
        elif outcome.error_code == verdict.UNSTORABLE:
            self.retry(flight, verdict.RetryIn(self._policy.delays[-1], counted=False))
        else:
            self.store(flight, verdict.unstorable(outcome, words))

    def park(self, delivery: Delivery, message_id: str, words: str) -> None:
        """Leave a malformed message that can't be recorded to the collector of parked ones."""
        log.error("malformed_message_refused", message_id=message_id, reason=words)
        self._acks.put(delivery, (outgoing.park(delivery.incoming, message_id),))

    # --- messages that can't be read, and those that the broker gave up ---

    def answer_malformed(
        self, malformed: Malformed, delivery: Delivery, lane: Lane, now: datetime
    ) -> None:
        """Say that a message can't be read; it is recorded by now."""

        def done() -> None:
            waited = (self._clock.now() - malformed.received_at).total_seconds()
            self._telemetry.submission(lane)
            self._telemetry.outcome(Status.MALFORMED, lane, repeated=False, waited=waited)

        self._malformed_log.note(malformed)
        self._acks.put(delivery, outgoing.malformed_answers(malformed, now), done)

    def collected(self, delivery: Delivery) -> None:
        """A parked message is recorded; the broker may forget it."""
        self._acks.put(delivery, ())

    # --- back to the broker ---

    def retry(self, flight: Flight, retry: RetryIn) -> None:
        """Into a retry queue, everybody who waits with the attempts that were spent.

        One that takes nothing, since it is full or gone, is given up: back into the lane then.
        """
        for party in self._flights.land(flight):
            message = outgoing.retry(
                party.submission,
                party.delivery.incoming,
                party.lane,
                retry.delay,
                attempts=flight.attempts,
                counted=retry.counted,
            )
            back = outgoing.give_back(
                party.submission, party.delivery.incoming, party.lane, attempts=flight.attempts
            )
            self._move(party, message, otherwise=back)

    def give_back(self, flight: Flight, parties: Iterable[Party]) -> None:
        """Back into their lanes; the flight ends with its last party, unless it has an answer."""
        for party in tuple(parties):
            flight.parties.remove(party)
            self._return(party, flight.attempts)
        if not flight.parties and flight.stage is not Stage.WRITING:
            self._flights.land(flight)

    def _return(self, party: Party, attempts: int) -> None:
        message = outgoing.give_back(
            party.submission, party.delivery.incoming, party.lane, attempts=attempts
        )
        self._move(party, message)

    def give_way(
        self,
        flight: Flight,
        lane: Lane,
        *,
        moved: Callable[[], None],
        refused: Callable[[Party, NotConfirmed], None],
    ) -> None:
        """Into another lane with all that came through the live one, age and attempts kept.

        The others stay aboard; without any the flight ends, so that a copy that comes meanwhile is
        a flight of its own.

        Args:
            flight: One that waits for its call.
            lane: Where to.
            moved: Called for each message that was moved.
            refused: Called for each that was not, which then has to be taken aboard again.
        """
        live = [party for party in flight.parties if party.lane is Lane.LIVE]
        for party in live:
            flight.parties.remove(party)
            message = outgoing.give_back(
                party.submission, party.delivery.incoming, lane, attempts=flight.attempts
            )
            done = partial(self._gave_way, party, moved)
            self._acks.put(party.delivery, (message,), done, partial(refused, party))
        if not flight.parties:
            self._flights.land(flight)

    def _gave_way(self, party: Party, moved: Callable[[], None]) -> None:
        self._telemetry.submission(party.lane)
        moved()

    def _move(
        self,
        party: Party,
        message: outgoing.Outgoing,
        otherwise: outgoing.Outgoing | None = None,
    ) -> None:
        done = partial(self._telemetry.submission, party.lane)
        self._acks.put(party.delivery, (message,), done, otherwise=otherwise)
