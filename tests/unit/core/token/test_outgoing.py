"""Messages that are sent, and letters that are kept."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest

from tests.fakes.records import NOW, ago, body, incoming, outcome, read, submission
from worker.core.dead_letters import records
from worker.core.dead_letters.records import Sealed
from worker.core.records import Lane, LetterReason, Malformed, Status
from worker.core.token import outgoing
from worker.core.token.headers import REFUSAL_HEADER, refusal
from worker.core.token.incoming import Death, Incoming
from worker.core.token.outgoing import answers, give_back, malformed_answers, park, retry
from worker.core.token.submissions import parse

SEALED = Sealed("key-1", b"box")
DELIVERED = Incoming(
    body("ok-1"),
    message_id="m-1",
    correlation_id="c-1",
    reply_to="resolution.reply.x",
    timestamp=ago(seconds=3),
    headers={"x-death": [{"count": 7}], "x-delivery-count": 3, "x-resolution-attempts": 9},
)


def malformed(**properties: str) -> Malformed:
    """A message without a usable token."""
    parsed, _ = parse(incoming(body("a b"), **properties), NOW)
    assert isinstance(parsed, Malformed)
    return parsed


# --- answers ---


@pytest.mark.parametrize(
    ("status", "key"),
    [
        (Status.RESOLVED, "token.resolved"),
        (Status.REJECTED, "token.rejected"),
        (Status.EXPIRED, "token.expired"),
        (Status.DEAD, "token.dead"),
    ],
)
def test_an_outcome_is_told_as_event_and_as_reply(status: Status, key: str) -> None:
    """Each submission's outcome goes out as event under its status and as reply, the same bytes."""
    asked = submission(message_id="m", correlation_id="c", reply_to="resolution.reply.x")
    event, reply = answers(outcome(status), asked, repeated=True)
    assert (event.exchange, event.routing_key) == ("resolution.events", key)
    assert (reply.exchange, reply.routing_key) == ("resolution.answers", "resolution.reply.x")
    assert event.body == reply.body
    assert json.loads(event.body)["repeated"] is True
    for said in (event, reply):
        assert (said.message_id, said.correlation_id) == ("m", "c")
    # That nobody hears a reply is told; an event may have no observer.
    assert (event.mandatory, reply.mandatory) == (False, True)


def test_who_asked_for_no_reply_gets_none() -> None:
    """Without reply_to there is the event alone."""
    (event,) = answers(outcome(), submission(reply_to=None), repeated=False)
    assert event.exchange == "resolution.events"
    (told,) = malformed_answers(malformed(reply_to="resolution.tokens"), NOW)
    assert told.exchange == "resolution.events"


def test_a_malformed_message_is_told_of_too() -> None:
    """A malformed message has its event and, where it asked for one, its reply."""
    event, reply = malformed_answers(malformed(reply_to="resolution.reply.x", message_id="m"), NOW)
    assert (event.routing_key, reply.routing_key) == ("token.malformed", "resolution.reply.x")
    assert json.loads(reply.body)["message_id"] == "m"


# --- messages moved elsewhere ---


@pytest.mark.parametrize("lane", list(Lane))
@pytest.mark.parametrize(("counted", "returns"), [(True, 3), (False, 2)])
def test_a_retry_waits_in_its_queue_and_keeps_its_lane(
    lane: Lane, returns: int, *, counted: bool
) -> None:
    """A retry goes to its delay's exchange under its lane's key, and counts if it is to."""
    asked = read(Incoming(DELIVERED.body, message_id="m-1", correlation_id="c-1"))
    asked = submission(asked.token.value, returns=2, received_at=ago(minutes=1))
    moved = retry(asked, DELIVERED, lane, "30s", attempts=4, counted=counted)
    assert (moved.exchange, moved.routing_key) == ("resolution.retry.30s", lane.value)
    assert moved.mandatory
    assert moved.body == DELIVERED.body
    assert (moved.message_id, moved.correlation_id) == (asked.message_id, asked.correlation_id)
    assert (moved.reply_to, moved.timestamp) == (DELIVERED.reply_to, DELIVERED.timestamp)
    back = read(Incoming(moved.body, headers=moved.headers, internal=True))
    assert (back.attempts, back.returns) == (4, returns)
    assert back.received_at == ago(minutes=1)


@pytest.mark.parametrize("lane", list(Lane))
def test_what_is_given_back_forgets_nothing(lane: Lane) -> None:
    """A message given back goes through the internal exchange with all that was spent on it."""
    asked = submission(returns=2, replay=ago(minutes=2))
    moved = give_back(asked, DELIVERED, lane, attempts=5)
    assert (moved.exchange, moved.routing_key) == ("resolution.internal", lane.value)
    assert moved.mandatory
    back = read(Incoming(moved.body, headers=moved.headers, internal=True))
    assert (back.attempts, back.returns, back.replay) == (5, 2, ago(minutes=2))


def test_what_gives_way_keeps_its_age_and_its_attempts() -> None:
    """An demoted message goes into the backlog lane with all that was spent on it."""
    asked = submission(returns=2, received_at=ago(minutes=1), first_seen=ago(hours=1))
    moved = give_back(asked, DELIVERED, Lane.BACKLOG, attempts=5)
    assert (moved.exchange, moved.routing_key) == ("resolution.internal", "backlog")
    assert moved.mandatory
    assert moved.body == DELIVERED.body
    back = read(Incoming(moved.body, headers=moved.headers, internal=True))
    assert (back.attempts, back.returns) == (5, 2)
    assert (back.received_at, back.first_seen) == (ago(minutes=1), ago(hours=1))


def test_where_it_stands_in_a_trace_stays_with_a_message() -> None:
    """`traceparent` and `tracestate` go through every queue, unless they are no such texts."""
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    odd = {"tracestate": "x" * 513, "baggage": "user=ada"}
    asked = Incoming(DELIVERED.body, headers={**trace, **odd})
    assert asked.trace == trace
    moved = give_back(read(asked), asked, Lane.LIVE, attempts=1)
    assert {name: moved.headers.get(name) for name in trace} == trace
    assert moved.headers.keys().isdisjoint(odd)


def test_the_brokers_own_headers_stay_behind() -> None:
    """Neither x-death nor a delivery count nor a publisher's header travels on."""
    for moved in (
        retry(submission(), DELIVERED, Lane.LIVE, "5s", attempts=0, counted=True),
        give_back(submission(), DELIVERED, Lane.LIVE, attempts=0),
        give_back(submission(), DELIVERED, Lane.CROWD, attempts=0),
        park(DELIVERED, "m", "why"),
    ):
        assert all(name.startswith("x-resolution-") for name in moved.headers)
        assert moved.headers.get("x-resolution-attempts", 0) == 0


def test_a_derived_id_is_kept_on_the_way() -> None:
    """A message without an id that is moved comes back with the id derived the first time."""
    nameless = incoming(body("ok-1"), timestamp=ago(seconds=5))
    asked = read(nameless)
    moved = give_back(asked, nameless, Lane.LIVE, attempts=1)
    back = read(
        Incoming(moved.body, moved.message_id, timestamp=moved.timestamp, headers=moved.headers)
    )
    assert back.message_id == asked.message_id


def test_what_cannot_be_recorded_is_parked() -> None:
    """A message on its way to the parked ones must arrive, under the name that is known of it.

    With it goes why it was parked, which counts on deliveries through our own exchange alone.
    """
    moved = park(DELIVERED, "m-safe", "why")
    assert refusal(Incoming(b"", headers=moved.headers, internal=True)) == "why"
    assert refusal(Incoming(b"", headers=moved.headers)) is None
    given_up = Incoming(
        b"", headers=moved.headers, internal=True, death=Death("delivery_limit", None)
    )
    assert refusal(given_up) is None
    assert refusal(Incoming(b"", headers={REFUSAL_HEADER: "a\nb"}, internal=True)) is None
    assert (moved.exchange, moved.routing_key) == ("resolution.internal", "parked")
    assert (moved.message_id, moved.mandatory, moved.body) == ("m-safe", True, DELIVERED.body)


def test_a_message_to_send_hides_its_body() -> None:
    """The token in a body does not show when a message to send is printed."""
    moved = give_back(submission("ok-1"), DELIVERED, Lane.LIVE, attempts=0)
    assert "ok-1" not in repr(moved)


def test_names_of_retry_queues() -> None:
    """A delay's queue and exchange bear its name."""
    assert outgoing.retry_exchange("2m") == "resolution.retry.2m"


# --- letters ---


@pytest.mark.parametrize("status", [Status.REJECTED, Status.EXPIRED, Status.DEAD])
def test_a_letter_keeps_what_reprocessing_needs(status: Status) -> None:
    """A letter names token, message, reason and times, and until when it may be redeemed."""
    asked = submission(received_at=ago(minutes=1), first_seen=ago(minutes=2))
    settled = outcome(status, asked, attempts=4, error_code="C", error_message="w")
    letter = records.of_outcome(settled, asked, DELIVERED, "live", SEALED)
    assert letter.reason is LetterReason(status.value)
    assert (letter.error_code, letter.error_message, letter.attempts) == ("C", "w", 4)
    assert (letter.token_sha256, letter.seller) == (asked.token.sha256, "default")
    assert letter.body_sha256 == hashlib.sha256(DELIVERED.body).digest()
    assert (letter.message_id, letter.correlation_id) == ("m-1", "c-1")
    assert (letter.lane, letter.metadata) == ("live", asked.metadata)
    assert (letter.received_at, letter.failed_at) == (asked.received_at, NOW)
    assert (letter.sealed, letter.seal_key_id) == (b"box", "key-1")
    assert letter.body_bytes == len(DELIVERED.body)
    redeemable = None if status is Status.EXPIRED else ago(minutes=2) + timedelta(hours=4)
    assert letter.redeemable_until == redeemable


def test_a_letter_of_a_malformed_message_can_not_be_redeemed() -> None:
    """A malformed message's letter says what is wrong and is not redeemable as it is."""
    bad = malformed(message_id="m")
    letter = records.of_malformed(bad, DELIVERED, "backlog", SEALED, NOW)
    assert (letter.reason, letter.error_code) == (LetterReason.MALFORMED, "TokenHasWhiteSpace")
    assert (letter.error_message, letter.redeemable_until) == (bad.reason, None)
    assert (letter.message_id, letter.lane, letter.attempts) == ("m", "backlog", 0)
    assert (letter.token_sha256, letter.body_sha256) == (bad.token_sha256, bad.body_sha256)
    assert (letter.received_at, letter.failed_at) == (bad.received_at, NOW)


def test_a_letter_of_a_parked_message_trusts_nothing_in_it() -> None:
    """What the broker parked is kept sealed and unparsed; no text of it stands in clear."""
    hostile = Incoming(
        b'{"registration_token":"ok-1"}',
        message_id="ok-1",
        correlation_id="ok-1",
        reply_to="ok-1",
        timestamp=ago(hours=1),
    )
    letter = records.of_parked(hostile, SEALED, NOW)
    assert "ok-1" not in repr(letter)
    assert (letter.reason, letter.lane) == (LetterReason.PARKED, "parked")
    assert (letter.correlation_id, letter.metadata, letter.token_sha256) == (None, None, None)
    assert letter.message_id == f"parked-{hashlib.sha256(hostile.body).hexdigest()[:32]}"


@pytest.mark.parametrize("stamp", [None, ago(hours=9), NOW + timedelta(hours=1)])
def test_a_parked_message_counts_from_now(stamp: object) -> None:
    """Whatever its publisher says of the time, a parked message may be saved for four hours."""
    letter = records.of_parked(Incoming(b"x", timestamp=stamp), SEALED, NOW)  # type: ignore[arg-type]
    assert letter.received_at == NOW
    assert letter.redeemable_until == NOW + timedelta(hours=4)
