"""Replaying: what is published for a letter, how fast, when to stop."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.records import NOW, ago, body, read
from worker.core.dead_letters.replay import (
    LEAST_OUTCOMES,
    MOST_IN_A_BATCH,
    REMEDIES,
    Claimed,
    Eligibility,
    OutcomeCounts,
    Pace,
    Prepared,
    prepare,
)
from worker.core.records import Lane, TokenKey
from worker.core.timestamps import format_time
from worker.core.token.incoming import Incoming, envelope
from worker.core.token.verdict import AWS_LIFETIME

SENT = Incoming(
    body("ok-1", received_at=format_time(ago(minutes=50)), metadata={"session": "s"}),
    message_id="m-1",
    correlation_id="c-1",
    reply_to="resolution.reply.x",
    timestamp=ago(minutes=49),
)
LETTER = Claimed(
    id=7,
    seller="default",
    reason="rejected",
    message_id="m-1",
    received_at=ago(minutes=50),
    redeemable_until=ago(minutes=60) + AWS_LIFETIME,
    instant=ago(seconds=3),
    sealed=b"",
    body_sha256=hashlib.sha256(SENT.body).digest(),
)


def prepared(letter: Claimed = LETTER, sent: Incoming = SENT) -> Prepared:
    """The message that goes out for a letter."""
    made = prepare(letter, envelope(sent), Lane.BACKLOG, NOW)
    assert isinstance(made, Prepared)
    return made


@pytest.mark.parametrize("lane", list(Lane))
def test_a_letter_goes_out_as_the_message_it_was(lane: Lane) -> None:
    """Body, ids, reply address and timestamp are the original's; the exchange is the internal."""
    made = prepare(LETTER, envelope(SENT), lane, NOW)
    assert isinstance(made, Prepared)
    message = made.message
    assert (message.exchange, message.routing_key) == ("resolution.internal", lane.value)
    assert message.mandatory
    assert (message.body, message.message_id) == (SENT.body, "m-1")
    assert (message.correlation_id, message.reply_to) == ("c-1", "resolution.reply.x")
    assert message.timestamp == SENT.timestamp


def test_a_replay_keeps_its_age_and_has_all_its_attempts() -> None:
    """The worker reads when it was received and since when it is known, and no attempt spent."""
    message = prepared().message
    asked = read(Incoming(message.body, headers=message.headers, internal=True))
    assert (asked.attempts, asked.returns) == (0, 0)
    assert (asked.received_at, asked.first_seen) == (ago(minutes=50), ago(minutes=60))
    assert asked.replay == LETTER.instant
    assert asked.metadata == b'{"session": "s"}'


def test_an_id_that_was_derived_is_kept() -> None:
    """A message without an id goes out under the one that its letter has."""
    nameless = replace(SENT, message_id=None)
    assert prepared(replace(LETTER, message_id="derived-1"), nameless).message.message_id == (
        "derived-1"
    )


def test_a_parked_message_goes_out_under_its_own_id() -> None:
    """Nobody has looked into a parked message; its own properties are trusted now."""
    parked = replace(LETTER, reason="parked", message_id="parked-1")
    made = prepared(parked)
    assert not made.is_identified
    assert made.message.message_id == "m-1"
    assert made.key == TokenKey("default", read(SENT).token.sha256)
    assert prepared().is_identified


def test_no_replay_is_younger_than_the_letter_says() -> None:
    """Where the message names no time, it is as old as its letter."""
    timeless = Incoming(body("ok-1"), message_id="m-1")
    letter = replace(LETTER, body_sha256=hashlib.sha256(timeless.body).digest())
    message = prepared(letter, timeless).message
    asked = read(Incoming(message.body, headers=message.headers, internal=True))
    assert (asked.received_at, asked.first_seen) == (ago(minutes=50), ago(minutes=60))


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        (envelope(replace(SENT, body=b"x" * 70_000)), "not all of the message was kept"),
        (envelope(replace(SENT, body=b"[]")), "BodyNotObject"),
        (b"garbage", "not all of the message was kept"),
    ],
)
def test_what_can_not_be_read_is_refused(kept: bytes, why: str) -> None:
    """A message that would be malformed is not published, and the reason is given."""
    letter = replace(LETTER, body_sha256=hashlib.sha256(kept.partition(b"\n")[2]).digest())
    refused = prepare(letter, kept, Lane.BACKLOG, NOW)
    assert isinstance(refused, str)
    assert refused.startswith(why)


def test_a_payload_that_was_exchanged_is_refused() -> None:
    """What is sealed must be the very message that the letter is about."""
    refused = prepare(LETTER, envelope(replace(SENT, body=body("ok-2"))), Lane.BACKLOG, NOW)
    assert refused == "the payload is that of another message: it was exchanged"


def test_a_claim_hides_what_is_sealed() -> None:
    """Neither a claim nor what is made of it shows the message."""
    sealed = replace(LETTER, sealed=b"secret")
    assert "secret" not in repr(sealed)
    assert "ok-1" not in repr(prepared(sealed))


# --- pace ---


def test_without_a_rate_nobody_waits() -> None:
    """Unthrottled, batches are of full size and follow at once."""
    pace = Pace()
    pace.published(MOST_IN_A_BATCH, 5.0)
    assert (pace.size(), pace.size(3), pace.wait(5.0)) == (MOST_IN_A_BATCH, 3, 0.0)


@given(st.floats(0.01, 100_000), st.lists(st.floats(0, 3), max_size=30))
def test_a_rate_is_never_exceeded(rate: float, delays: list[float]) -> None:
    """However late the caller is, over any time no more goes than the rate and one batch allow."""
    pace, now, sent, last = Pace(rate), 100.0, 0, 0
    for delay in delays:
        now += pace.wait(now) + delay
        last = pace.size()
        pace.published(last, now)
        sent += last
        assert sent - last <= rate * (now - 100.0) + 1e-6


@pytest.mark.parametrize(("rate", "size"), [(0.5, 1), (4, 1), (40, 4), (1e5, MOST_IN_A_BATCH)])
def test_a_batch_is_a_tenth_of_a_second(rate: float, size: int) -> None:
    """Little is claimed ahead of its time."""
    assert Pace(rate).size() == size


# --- stopping ---


@pytest.mark.parametrize(
    ("resolved", "failed", "percent", "stops"),
    [
        (0, LEAST_OUTCOMES - 1, 0, False),
        (0, LEAST_OUTCOMES, 0, True),
        (0, LEAST_OUTCOMES, None, False),
        (0, LEAST_OUTCOMES, 100, False),
        (9, 1, 10, False),
        (9, 1, 9.9, True),
        (90, 11, 10, True),
    ],
)
def test_it_stops_when_the_share_of_failures_exceeds_the_bound(
    resolved: int, failed: int, percent: float | None, *, stops: bool
) -> None:
    """More than the share given, of ten outcomes at least."""
    half = OutcomeCounts(resolved, 0) + OutcomeCounts(0, failed)
    assert half.exceeds(percent) is stops


def test_what_is_left_out_has_its_remedy() -> None:
    """Whoever is left out is told why, and too late to save means to click again."""
    assert REMEDIES.keys() == set(Eligibility) - {Eligibility.READY}
    for why in (Eligibility.EXPIRED, Eligibility.SHREDDED):
        assert "click through again" in REMEDIES[why]


def test_a_letter_without_a_known_age_is_not_made_younger() -> None:
    """Of letter and message the earlier time of arrival counts; first seen is the letter's."""
    younger = replace(LETTER, received_at=ago(minutes=1), redeemable_until=NOW + AWS_LIFETIME)
    message = prepared(younger).message
    asked = read(Incoming(message.body, headers=message.headers, internal=True))
    assert (asked.received_at, asked.first_seen) == (ago(minutes=50), NOW)
