"""Messages read: what is sound, what is malformed and why, what is passed over."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fakes.records import NOW, ago, body, incoming, read, submission
from worker.core import secrecy
from worker.core.records import Malformed, Submission
from worker.core.timestamps import format_time, parse_time
from worker.core.token.headers import (
    ALWAYS_CALLS,
    ATTEMPTS_HEADER,
    FIRST_SEEN_HEADER,
    RECEIVED_HEADER,
    REPLAY_HEADER,
    RETURNS_HEADER,
    headers,
)
from worker.core.token.incoming import (
    KEPT_OF_TOO_LARGE_BYTES,
    MAX_BODY_BYTES,
    Incoming,
    envelope,
    read_envelope,
    shortened,
)
from worker.core.token.malformed import MAX_METADATA_BYTES
from worker.core.token.outgoing import malformed_answers
from worker.core.token.replies import malformed_body, outcome_body
from worker.core.token.submissions import (
    Ignored,
    parse,
)
from worker.core.token.verdict import lifetime_exceeded

TOKEN = "ok-canary+token/of=a-buyer"
RETRIED = {ATTEMPTS_HEADER: 3, RETURNS_HEADER: 1}


def refused(message: Incoming) -> Malformed:
    """What is said of a message that can't be read."""
    parsed, _ = parse(message, NOW)
    assert isinstance(parsed, Malformed), parsed
    return parsed


def ignored(message: Incoming) -> Ignored:
    """What was passed over."""
    return parse(message, NOW)[1]


def everything_said(record: Submission | Malformed) -> str:
    """All that may be logged, stored or sent of a message, the sealed body excepted."""
    said = [repr(record), str(record), repr(record.metadata), str(record.reply_to)]
    if isinstance(record, Malformed):
        said += [repr(answer) for answer in malformed_answers(record, NOW)]
        said.append(malformed_body(record, NOW).decode())
    else:
        settled = lifetime_exceeded(record, NOW)
        said += [repr(settled), outcome_body(settled, record, repeated=False).decode()]
    return "\n".join(said)


# --- sound messages ---


def test_only_a_token_is_needed() -> None:
    """A body with nothing but a token is a submission of the default seller, received now."""
    read_ = read(incoming(b'{"registration_token":"ok-1"}'))
    assert read_.token.value == "ok-1"
    assert (read_.seller, read_.offer_type, read_.progress) == ("default", None, False)
    assert (read_.correlation_id, read_.reply_to, read_.metadata) == (None, None, None)
    assert read_.received_at == read_.first_seen == NOW
    assert (read_.attempts, read_.returns, read_.redelivered, read_.replay) == (0, 0, False, None)


def test_every_member_is_read() -> None:
    """All members and properties of a full message arrive as they were written."""
    content = (
        b'{"version": 1, "registration_token": "ok-1", "received_at": "2026-11-22T11:00:00Z",'
        b' "offer_type": "free-trial", "seller": "default", "progress": true,'
        b' "metadata": {"session":  "s"}, "unknown": [1, {"a": null}]}'
    )
    message = incoming(
        content, message_id="m", correlation_id="c", reply_to="resolution.reply.x", redelivered=True
    )
    parsed, odd = parse(message, NOW)
    assert parsed == submission(
        "ok-1",
        message_id="m",
        correlation_id="c",
        reply_to="resolution.reply.x",
        offer_type="free-trial",
        progress=True,
        metadata=b'{"session":  "s"}',
        received_at=datetime(2026, 11, 22, 11, tzinfo=UTC),
        first_seen=NOW,
        redelivered=True,
    )
    assert odd == Ignored()


@pytest.mark.parametrize(
    "body_with_mark",
    [
        b'\xef\xbb\xbf{"registration_token":"ok-1"}',
        '{"registration_token":"\ufeffok-1"}'.encode(),
    ],
)
def test_a_byte_order_mark_is_passed_over(body_with_mark: bytes) -> None:
    """Editors put it before a text; before a body or a token it means nothing."""
    parsed, _ = parse(Incoming(body_with_mark, "m-7"), NOW)
    assert isinstance(parsed, Submission)
    assert parsed.token.value == "ok-1"


@pytest.mark.parametrize("version", ["1", "1.0", "null"])
def test_version_one_may_be_spelled_or_left_out(version: str) -> None:
    """Version 1, as whole number or not, and null all mean this version."""
    content = b'{"registration_token":"ok-1","version":%s}' % version.encode()
    assert read(incoming(content)).token.value == "ok-1"


@pytest.mark.parametrize("progress", ["false", "null", "0", "1", '"true"', "[]"])
def test_progress_is_wanted_only_if_true(progress: str) -> None:
    """Anything but true means that no progress is wanted."""
    content = b'{"registration_token":"ok-1","progress":%s}' % progress.encode()
    assert read(incoming(content)).progress is False


def test_a_configured_seller_is_accepted() -> None:
    """A seller other than the default is read where it is configured."""
    message = incoming(body(seller="emea"))
    parsed, _ = parse(message, NOW, frozenset({"default", "emea"}))
    assert isinstance(parsed, Submission)
    assert parsed.seller == "emea"
    assert refused(message).code == "SellerUnknown"


# --- malformed messages ---

LONG_METADATA = {"a": "x" * (MAX_METADATA_BYTES - 7)}  # one byte too many

MALFORMED: list[tuple[str, bytes]] = [
    ("BodyEmpty", b""),
    ("BodyTooLarge", body(metadata={}, filling="x" * MAX_BODY_BYTES)),
    ("BodyTooLarge", b"x" * 20_000_000),
    ("BodyNotUtf8", b'{"registration_token":"\xff"}'),
    ("BodyNotUtf8", json.dumps({"registration_token": "ok-1"}).encode("utf-16")),
    ("BodyNotJson", b"ok-a-bare-token"),
    ("BodyNotJson", b"{"),
    ("BodyNotJson", b'{"registration_token":"ok-1"} x'),
    ("BodyNotJson", b'{"registration_token":"ok-1",}'),
    ("BodyNotUtf8", b"\xff\xfe"),
    ("BodyNotUtf8", '{"registration_token":"ok-1"}'.encode("utf-16-be")),
    ("BodyNotJson", b'{"registration_token":"\\ud800"}'),
    ("BodyNotJson", b'{"registration_token":"ok-1","metadata":{"a":"\\udc00"}}'),
    ("BodyNotJson", b'{"registration_token":"ok-1","version":NaN}'),
    ("BodyNotJson", b'{"registration_token":"ok-1","u":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    ("BodyNotObject", b"[]"),
    ("BodyNotObject", b"null"),
    ("BodyNotObject", b'"ok-1"'),
    ("BodyNotObject", b"1"),
    ("BodyNotObject", b"[" * 60_000),
    ("VersionUnsupported", body(version=2)),
    ("VersionUnsupported", body(version=0)),
    ("VersionUnsupported", body(version="1")),
    ("VersionUnsupported", body(version=True)),
    ("VersionUnsupported", body(version=[])),
    ("TokenMissing", b"{}"),
    ("TokenMissing", b'{"token":"ok-1"}'),
    ("TokenNotText", b'{"registration_token":null}'),
    ("TokenNotText", b'{"registration_token":7}'),
    ("TokenNotText", b'{"registration_token":["ok-1"]}'),
    ("TokenEmpty", body("")),
    ("TokenTooLong", body("x" * 8_193)),
    ("TokenHasWhiteSpace", body("a b")),
    ("TokenHasWhiteSpace", body("a\n")),
    ("TokenHasWhiteSpace", body("\u00a0a")),
    ("TokenHasWhiteSpace", body("a\u2028b")),
    ("TokenHasControlCharacter", body("a\x00b")),
    ("TokenHasControlCharacter", body("a\x7f")),
    ("TokenHasControlCharacter", body("\x1ba")),
    ("TokenQuoted", body('"a"')),
    ("TokenQuoted", body("'a'")),
    ("TokenQuoted", body("`a")),
    ("TokenQuoted", body("\u201ca\u201d")),
    ("TokenHasFieldName", body("x-amzn-marketplace-token=a")),
    ("TokenHasFieldName", body("X-Amzn-Marketplace-Token:a")),
    ("TokenHasFieldName", body("a&x-amzn-marketplace-offer-type=free-trial")),
    ("TokenHasFieldName", body("registration_token=a")),
    ("TokenHasFieldName", body("RegistrationToken:a")),
    ("TokenHasInvisibleCharacter", body("a\u200bb")),
    ("TokenHasInvisibleCharacter", body("a\ufeff")),
    ("TokenHasInvisibleCharacter", body("a\u202eb")),
    ("TokenPercentEncoded", body("a%2Bb")),
    ("TokenPercentEncoded", body("a%2f")),
    ("MetadataNotObject", body(metadata=[])),
    ("MetadataNotObject", body(metadata="x")),
    ("MetadataNotObject", body(metadata=0)),
    ("MetadataTooLarge", body(metadata=LONG_METADATA)),
    ("MetadataContainsToken", body(TOKEN, metadata={"a": [{"b": f"<{TOKEN}>"}]})),
    ("MetadataContainsToken", body(TOKEN, metadata={TOKEN: 1})),
    ("MetadataContainsToken", body("12345", metadata={"a": 123456})),
    ("OfferTypeUnfit", body(offer_type=1)),
    ("OfferTypeUnfit", body(offer_type="x" * 256)),
    ("OfferTypeUnfit", body(offer_type="a\x00")),
    ("OfferTypeContainsToken", body(TOKEN, offer_type=f"trial {TOKEN}")),
    ("SellerUnknown", body(seller="other")),
    ("SellerUnknown", body(seller=1)),
    ("SellerUnknown", body(seller="")),
]


@pytest.mark.parametrize(
    ("code", "content"), MALFORMED, ids=[f"{c}-{len(b)}" for c, b in MALFORMED]
)
def test_each_fault_has_its_code_and_words(code: str, content: bytes) -> None:
    """What is wrong with a body is named by a code of its own and in words that quote nothing."""
    malformed = refused(incoming(content, message_id="m-7", correlation_id="c-7"))
    assert malformed.code == code
    assert malformed.reason
    assert len(malformed.reason) < 200
    assert (malformed.message_id, malformed.correlation_id) == ("m-7", "c-7")
    assert malformed.body_sha256 == hashlib.sha256(content).digest()


@pytest.mark.parametrize(
    "content",
    [
        body("x" * 8_192),
        body("x"),
        body("\u00e9" * 8_192),  # characters are counted, not bytes
        body("50%zz-100%-%2"),  # no escapes
        body(metadata={"a": "x" * (MAX_METADATA_BYTES - 9)}),
        body(metadata=None),
        body(offer_type="x" * 255),
        body(offer_type=None, seller=None, version=None, progress=None, received_at=None),
        body(filling="x" * (MAX_BODY_BYTES - len(body(filling="")))),
    ],
    ids=len,
)
def test_the_limits_themselves_are_allowed(content: bytes) -> None:
    """A message exactly at a limit is sound, and nothing in it counts as odd."""
    parsed, odd = parse(incoming(content), NOW)
    assert isinstance(parsed, Submission)
    assert odd == Ignored()


@pytest.mark.parametrize("size", [MAX_METADATA_BYTES, MAX_METADATA_BYTES + 1])
def test_metadata_is_measured_as_it_was_written(size: int) -> None:
    """Blanks within metadata count: 4,096 bytes as written are allowed, one more is not."""
    written = b'{"a":1' + b" " * (size - 7) + b"}"
    assert len(written) == size
    message = incoming(b'{"registration_token":"ok-1","metadata":%s}' % written)
    if size > MAX_METADATA_BYTES:
        assert refused(message).code == "MetadataTooLarge"
    else:
        assert read(message).metadata == written


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("name", [b"registration_token", b"metadata", b"received_at", b"unknown"])
def test_nesting_of_any_depth_is_survived(opening: bytes, name: bytes) -> None:
    """No depth of nesting that fits into a body, closed or not, brings the reader down."""
    closing = {b"[": b"]", b'{"a":': b"}", b'[{"a":': b"}]"}[opening]
    deepest = 70 * 1024 // (len(opening) + len(closing))
    for depth in {1, 2, 10, 100, 500, 900, 1_000, 1_100, 2_000, 5_000, 8_000, 10_000, deepest}:
        nested = opening * depth + b"1" + closing * depth
        first = b"" if name == b"registration_token" else b'"registration_token":"ok-1",'
        for value in (nested, opening * depth):
            parsed, _ = parse(incoming(b'{%s"%s":%s}' % (first, name, value)), NOW)
            assert isinstance(parsed, (Submission, Malformed))
            assert len(repr(parsed)) < 2_000


@pytest.mark.parametrize("name", ["version", "progress", "received_at", "metadata", "unknown"])
def test_numbers_of_any_length_are_survived(name: str) -> None:
    """A number of 60,000 digits, where it is read or not, is no more than a malformed message."""
    for number in ("9" * 60_000, "-" + "9" * 5_000, "1e999999", "0." + "1" * 60_000):
        parsed, _ = parse(
            incoming(f'{{"registration_token":"ok-1","{name}":{number}}}'.encode()), NOW
        )
        assert isinstance(parsed, (Submission, Malformed))


def test_of_a_repeated_member_the_last_counts() -> None:
    """A repeated member is read as most readers do: the last one."""
    content = b'{"registration_token":"ok-1","registration_token":"ok-2","version":7,"version":1}'
    assert read(incoming(content)).token.value == "ok-2"


# --- ids ---


def test_a_missing_message_id_is_derived_and_stays() -> None:
    """The derived id is the same each time, and another for another body or timestamp."""
    one = incoming(body("ok-1"), timestamp=ago(seconds=9))
    assert read(one).message_id == read(one).message_id
    assert read(one).message_id.startswith("derived-")
    ids = {
        read(each).message_id
        for each in (
            one,
            incoming(body("ok-2"), timestamp=one.timestamp),
            incoming(one.body, timestamp=ago(seconds=8)),
            incoming(one.body),
        )
    }
    assert len(ids) == 4


def test_an_empty_message_id_counts_as_missing() -> None:
    """Publishers that send an empty id get a derived one."""
    assert read(incoming(message_id="")).message_id == read(incoming()).message_id


def test_a_derived_id_tells_nothing_of_the_token() -> None:
    """The derived id is no fingerprint of the token by which others could find it."""
    read_ = read(incoming(body(TOKEN)))
    assert read_.token.sha256.hex()[:32] not in read_.message_id


# --- reply_to ---


@pytest.mark.parametrize(
    ("reply_to", "accepted"),
    [
        ("resolution.reply.web-1", True),
        ("resolution.reply.", True),
        ("resolution.reply." + "x" * 238, True),
        ("resolution.reply." + "x" * 239, False),
        ("resolution.reply." + "\u00e9" * 119, True),
        ("resolution.reply." + "\u00e9" * 120, False),  # bytes are counted, not characters
        ("resolution.reply", False),
        ("resolution.tokens", False),
        ("resolution.retry.5s", False),
        ("Resolution.reply.x", False),
        (" resolution.reply.x", False),
        ("amq.rabbitmq.reply-to", False),
        ("amq.rabbitmq.reply-to.g1h2.x", False),
        ("resolution.reply.\ud800", False),
        ("resolution.reply.\x00", False),
        (f"resolution.reply.{TOKEN}", False),
    ],
)
@pytest.mark.parametrize("content", [body(TOKEN), body(TOKEN, version=2)], ids=["sound", "not"])
def test_only_our_own_reply_keys_are_answered(
    content: bytes, reply_to: str, *, accepted: bool
) -> None:
    """A reply_to outside `resolution.reply.` or unfit for a routing key is ignored and counted."""
    parsed, odd = parse(incoming(content, reply_to=reply_to), NOW)
    assert parsed.reply_to == (reply_to if accepted else None)
    assert odd.reply_to_ignored is not accepted


@pytest.mark.parametrize("reply_to", [None, ""])
def test_no_reply_asked_for_is_nothing_odd(reply_to: str | None) -> None:
    """A message without reply_to gets no reply, and is not counted as odd."""
    parsed, odd = parse(incoming(reply_to=reply_to), NOW)
    assert parsed.reply_to is None
    assert odd == Ignored()


# --- received_at ---


@pytest.mark.parametrize(
    ("written", "seconds_ago"),
    [
        ("2026-11-22T11:59:59.25Z", 1),
        ("2026-11-22T12:59:59.250+01:00", 1),
        ("2026-11-22t11:59:59.250z", 1),
        ("2026-11-22 11:59:59.250Z", 1),
        ("2026-11-22T11:59:59.250000999Z", 1),
        ("2026-11-22T08:00:00.250Z", 4 * 3600),
        ("2026-11-22T12:00:00.250Z", 0),
    ],
)
def test_a_received_at_that_can_be_read_counts(written: str, seconds_ago: int) -> None:
    """An RFC 3339 instant that is not in the future is when the buyer came."""
    parsed, odd = parse(incoming(body(received_at=written)), NOW)
    assert parsed.received_at == ago(seconds=seconds_ago)
    assert not odd.received_at_ignored


@pytest.mark.parametrize(
    "written",
    [
        "",
        "yesterday",
        "2026-11-22",
        "2026-11-22T11:00:00",  # without offset
        "2026-11-22T12:00:00.251Z",  # the future
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2026-02-30T00:00:00Z",
        "2026-11-22T25:00:00Z",
        1_795_348_800,
        1e300,
        True,
        [],
        {},
    ],
)
def test_a_received_at_that_cannot_be_believed_counts_as_now(written: object) -> None:
    """What can't be read or lies in the future counts as now and is counted, never malformed."""
    parsed, odd = parse(incoming(body(received_at=written), timestamp=ago(seconds=9)), NOW)
    assert isinstance(parsed, Submission)
    assert parsed.received_at == NOW
    assert odd.received_at_ignored


@pytest.mark.parametrize("written", [b"1e999", b"9" * 60_000, b"[" * 90 + b"]" * 90])
def test_a_received_at_beyond_reading_is_not_malformed(written: bytes) -> None:
    """A received_at that even the JSON reader gives up on counts as now all the same."""
    content = b'{"registration_token":"ok-1","received_at":%s}' % written
    parsed, odd = parse(incoming(content), NOW)
    assert isinstance(parsed, Submission)
    assert odd.received_at_ignored


@pytest.mark.parametrize("members", [{}, {"received_at": None}])
def test_without_received_at_the_timestamp_counts(members: dict[str, Any]) -> None:
    """Where the body does not say, or says null, the AMQP timestamp is when the buyer came."""
    message = incoming(body(**members), timestamp=ago(minutes=3))
    parsed, odd = parse(message, NOW)
    assert parsed.received_at == ago(minutes=3)
    assert odd == Ignored()


def test_a_timestamp_in_the_future_counts_as_now() -> None:
    """An AMQP timestamp in the future is passed over and counted."""
    parsed, odd = parse(incoming(timestamp=NOW + timedelta(seconds=1)), NOW)
    assert parsed.received_at == NOW
    assert odd.received_at_ignored


@pytest.mark.parametrize(("received", "stamp"), [(60, 90), (90, 60), (18_000, 18_000)])
def test_age_runs_from_our_own_first_sight(received: int, stamp: int) -> None:
    """No time that a publisher writes makes a token old: its age begins when we first see it."""
    said = format_time(ago(seconds=received))
    read_ = read(incoming(body(received_at=said), timestamp=ago(seconds=stamp)))
    assert read_.received_at == ago(seconds=received)
    assert read_.first_seen == NOW


@pytest.mark.parametrize("written", ["body", "timestamp"])
def test_a_time_of_zero_counts_as_now(written: str) -> None:
    """An empty field that somebody has filled with zero says nothing, and is counted."""
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    in_body = incoming(body(received_at=format_time(zero)))
    parsed, odd = parse(in_body if written == "body" else incoming(timestamp=zero), NOW)
    assert parsed.received_at == NOW
    assert odd.received_at_ignored


def test_a_malformed_message_too_was_received_when_it_says() -> None:
    """A malformed message's received_at is its own, as long as it can be read."""
    content = body("a b", received_at=format_time(ago(minutes=2)))
    assert refused(incoming(content)).received_at == ago(minutes=2)
    assert refused(incoming(b"x", timestamp=ago(minutes=3))).received_at == ago(minutes=3)
    assert refused(incoming(b"x")).received_at == NOW


# --- headers of our own ---


def test_headers_are_believed_only_when_internal() -> None:
    """A publisher who writes our headers neither ages a token nor uses up its attempts."""
    ours = headers(
        submission(received_at=ago(minutes=9), first_seen=ago(minutes=10), replay=ago(minutes=1)),
        attempts=3,
        returns=2,
    )
    told = read(incoming(headers=ours, internal=False))
    assert (told.attempts, told.returns, told.replay) == (0, 0, None)
    assert told.received_at == told.first_seen == NOW
    known = read(incoming(headers=ours, internal=True))
    assert (known.attempts, known.returns, known.replay) == (3, 2, ago(minutes=1))
    assert (known.received_at, known.first_seen) == (ago(minutes=9), ago(minutes=10))


@pytest.mark.parametrize("value", [-1, 0, "3", 3.0, b"3", None, [], {}, 2**62])
@pytest.mark.parametrize(
    "name", [ATTEMPTS_HEADER, RETURNS_HEADER, RECEIVED_HEADER, FIRST_SEEN_HEADER]
)
def test_headers_that_make_no_sense_are_none(name: str, value: object) -> None:
    """A header of an odd type or size does not raise and never moves a time into the future."""
    read_ = read(incoming(headers={name: value}, internal=True))
    assert read_.received_at <= NOW
    assert read_.first_seen <= NOW
    if value != 2**62:
        assert (read_.attempts, read_.returns) == (0, 0)


INSTANTS = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=NOW.replace(tzinfo=None),
    timezones=st.just(UTC),
)


@given(
    received_at=INSTANTS,
    first_seen=INSTANTS,
    attempts=st.integers(0, 100),
    returns=st.integers(0, 100),
    replay=st.none() | INSTANTS,
)
def test_headers_come_back_as_they_went(
    received_at: datetime,
    first_seen: datetime,
    attempts: int,
    returns: int,
    replay: datetime | None,
) -> None:
    """What goes into a retry queue comes out with its attempts, returns and times in ms."""
    first_seen = min(received_at, first_seen)
    gone = submission(received_at=received_at, first_seen=first_seen, replay=replay)
    carried = headers(gone, attempts=attempts, returns=returns)
    back = read(incoming(headers=carried, internal=True))
    assert (back.attempts, back.returns) == (attempts, returns)
    millisecond = timedelta(milliseconds=1)
    assert (back.replay is None) is (replay is None)
    if replay is not None and back.replay is not None:
        assert timedelta(0) <= replay - back.replay < millisecond
    assert timedelta(0) <= received_at - back.received_at < millisecond
    assert timedelta(0) <= first_seen - back.first_seen < millisecond


def test_headers_carry_no_replay_unless_asked() -> None:
    """Only a replay is marked as one."""
    assert REPLAY_HEADER not in headers(submission(), attempts=0, returns=0)


@pytest.mark.parametrize("value", [1, True, 0, -1, "3", 3.0, None, 2**62])
def test_a_replay_that_does_not_say_since_when_always_calls(value: object) -> None:
    """A header of an older worker, or one that makes no sense, marks a replay that always calls."""
    asked = read(incoming(headers={REPLAY_HEADER: value}, internal=True))
    assert asked.replay == ALWAYS_CALLS
    again = headers(asked, attempts=0, returns=0)
    assert read(incoming(headers=again, internal=True)).replay == ALWAYS_CALLS


@pytest.mark.parametrize("timestamp", [None, ago(minutes=3)])
@pytest.mark.parametrize("body_", [b"", b"two\nlines", b'{"a": "\xff"}', b"x" * MAX_BODY_BYTES])
def test_an_envelope_gives_the_message_back(body_: bytes, timestamp: datetime | None) -> None:
    """What was sealed is read back as it was: body, ids, where to answer, timestamp."""
    gone = Incoming(body_, "m", "c", "resolution.reply.x", timestamp)
    assert read_envelope(envelope(gone)) == gone


@pytest.mark.parametrize(
    "kept", [envelope(Incoming(b"x" * (MAX_BODY_BYTES + 1))), b"", b"x\ny", b"{}\n"]
)
def test_what_was_not_kept_whole_is_no_message(kept: bytes) -> None:
    """A body that was cut, or what is no envelope at all, is not taken for a message."""
    assert read_envelope(kept) is None


def test_a_message_that_is_shortened_is_sealed_and_named_as_before() -> None:
    """Only the part of a body that is sealed is kept; size and SHA-256 are those of the whole."""
    large = incoming(b"x" * MAX_BODY_BYTES + b"more", correlation_id="c")
    small = shortened(large)
    assert len(small.body) == KEPT_OF_TOO_LARGE_BYTES
    assert envelope(small) == envelope(large)
    assert (small.body_bytes, small.body_sha256) == (large.body_bytes, large.body_sha256)
    assert large.body_sha256 == hashlib.sha256(large.body).digest()
    assert shortened(small) == small
    fits = incoming(b"x" * MAX_BODY_BYTES)
    assert shortened(fits) is fits


# --- the token is a secret ---


def escaped(text: str) -> str:
    """A text as JSON may spell it, every character escaped."""
    return "".join(f"\\u{ord(char):04x}" for char in text)


def percent_encoded(text: str) -> str:
    """A text with every byte percent-encoded."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


SPELLINGS = {
    "plain": TOKEN,
    "percent": TOKEN.replace("+", "%2B").replace("/", "%2f"),
    "percent-all": percent_encoded(TOKEN),
    "percent-twice": percent_encoded(percent_encoded(TOKEN)),
    "json": TOKEN.replace("/", "\\/"),
    "json-all": escaped(TOKEN),
    "json-percent": escaped(percent_encoded(TOKEN)),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("name", ["message_id", "correlation_id"])
def test_ids_that_contain_the_token_make_it_malformed(name: str, spelling: str) -> None:
    """An id that gives the token away, however spelled, is refused and not echoed."""
    malformed = refused(incoming(body(TOKEN), **{name: f"id-{spelling}-x"}))
    code = {"message_id": "MessageIdContainsToken", "correlation_id": "CorrelationIdContainsToken"}
    assert malformed.code == code[name]
    assert spelling not in everything_said(malformed)
    assert TOKEN not in everything_said(malformed)


METADATA = {
    "value": '{"a": "<%s>"}',
    "name": '{"<%s>": 1}',
    "nested": '{"a": [1, {"b": ["%s"]}]}',
    "repeated name": '{"a": "%s", "a": "harmless"}',
    "repeated deep": '{"a": {"b": {"c": "%s"}, "b": 1}}',
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
def test_metadata_that_contains_the_token_makes_it_malformed(metadata: str, spelling: str) -> None:
    """Metadata that gives the token away, even where a repeated name hides it, is not echoed."""
    written = metadata % spelling
    content = f'{{"registration_token": "{TOKEN}", "metadata": {written}}}'.encode()
    malformed = refused(incoming(content))
    assert malformed.code == "MetadataContainsToken"
    assert malformed.metadata is None
    assert malformed.token_sha256 == hashlib.sha256(TOKEN.encode()).digest()


@pytest.mark.parametrize(
    "content",
    [
        body(f" {TOKEN}\n"),
        body(TOKEN.replace("+", " ")),
        body(percent_encoded(TOKEN)),
        body(TOKEN.replace("+", "%2B")),
        body(f"{TOKEN}\x00junk"),
        body(f"{TOKEN} and more"),
        json.dumps({"registration_token": [TOKEN]}).encode(),
        json.dumps({"token": TOKEN}).encode(),
        TOKEN.encode(),
        percent_encoded(TOKEN).encode(),
        escaped(TOKEN).encode(),
        f'{{"registration_token":"{TOKEN}"'.encode(),
        json.dumps({"registration_token": TOKEN}).encode("utf-16"),
        body(TOKEN) + b"\xff",
        json.dumps({"filling": "x" * 70_000, "registration_token": TOKEN}).encode(),
        body(TOKEN, version=2),
    ],
    ids=lambda content: content[:24].decode(errors="replace"),
)
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_malformed_message_never_tells_its_token(content: bytes, spelling: str) -> None:
    """However a body holds a token that can't be used, no echo of the message tells it."""
    message = incoming(
        content,
        message_id=f"id-{spelling}",
        correlation_id=f"{spelling}!",
        reply_to=f"resolution.reply.{spelling}",
    )
    malformed = refused(message)
    said = everything_said(malformed)
    assert TOKEN not in said
    assert spelling not in said
    assert TOKEN not in repr(message)
    assert malformed.message_id.startswith("derived-")
    assert (malformed.correlation_id, malformed.reply_to, malformed.metadata) == (None, None, None)


def test_metadata_is_searched_text_by_text() -> None:
    """A token that only the punctuation between two texts would complete is not contained."""
    content = b'{"registration_token":"a\\",\\"b","metadata":{"x":["a","b"]}}'
    assert read(incoming(content)).metadata == b'{"x":["a","b"]}'


def test_harmless_echoes_of_a_malformed_message_are_kept() -> None:
    """A malformed message that can be read is answered with its own ids and metadata."""
    content = b'{"registration_token":"a b","metadata":{"session": "s" }}'
    message = incoming(
        content, message_id="m-1", correlation_id="c-1", reply_to="resolution.reply.x"
    )
    malformed = refused(message)
    assert (malformed.message_id, malformed.correlation_id) == ("m-1", "c-1")
    assert malformed.reply_to == "resolution.reply.x"
    assert malformed.metadata == b'{"session": "s" }'


def test_metadata_of_many_texts_is_searched_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of thousands of words and metadata of hundreds of texts cost their sum."""
    plainly, spelled = secrecy._unescaped, list[str]()

    def unescaped(text: str) -> str:
        spelled.append(text)
        return plainly(text)

    monkeypatch.setattr(secrecy, "_unescaped", unescaped)
    words = " ".join(f"{n:016d}" for n in range(3_000))
    metadata = {"a": [f"%25{n:03d}" for n in range(300)]}
    message = incoming(body(words, version=2, metadata=metadata), message_id="%" * 255)
    assert refused(message).metadata is not None
    assert len(spelled) <= 3 * 301


def test_too_large_a_body_costs_no_more_than_is_told_of_it() -> None:
    """Of a body over the limit nothing is read that is too large to be told."""
    many: list[Any] = [[]] * 40_000
    huge = {"metadata": {"a": many}, "received_at": many}
    malformed = refused(incoming(body("a b", **huge), message_id="m-1"))
    assert (malformed.code, malformed.message_id) == ("BodyTooLarge", "m-1")
    assert (malformed.metadata, malformed.received_at) == (None, NOW)
    token = refused(incoming(body("x" * 70_000, metadata={"a": "b"}), message_id="m-1"))
    assert token.token_sha256 == hashlib.sha256(b"x" * 70_000).digest()
    assert token.message_id.startswith("derived-")
    assert token.metadata is None


def test_metadata_of_an_unread_token_is_left_out() -> None:
    """Where no token can be read, metadata may hold it, and is not echoed."""
    assert refused(incoming(b'{"metadata":{"a":"x"}}')).metadata is None


TOKENS = st.builds(
    "~ok~{}".format,  # in no word of ours
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], max_codepoint=0x2FFF), max_size=40),
).filter(lambda token: isinstance(parse(incoming(body(token)), NOW)[0], Submission))
SPELLERS = st.sampled_from(
    [
        str,
        escaped,
        percent_encoded,
        lambda token: json.dumps(token)[1:-1],
        lambda token: percent_encoded(percent_encoded(token)),
        lambda token: escaped(percent_encoded(token)),
    ]
)
WHERE = ["message_id", "correlation_id", "reply_to", "metadata", "offer_type", "seller", "name"]


@given(TOKENS, SPELLERS, st.sampled_from(WHERE), st.sampled_from(["", "a", "<<"]))
@example("a-1\\/b", escaped, "message_id", "")
@example("1e50", str, "metadata", "")
def test_no_token_is_ever_told(token: str, spell: Any, where: str, around: str) -> None:
    """Wherever a publisher puts a token besides its place, no record and no answer tells it."""
    told = f"{around}{spell(token)}{around}"
    properties = {where: told} if where in {"message_id", "correlation_id"} else {}
    members: dict[str, Any] = {where: told} if where in {"offer_type", "seller"} else {}
    if where == "reply_to":
        properties[where] = f"resolution.reply.{told}"
    elif where == "metadata":
        members[where] = {"a": [told]}
    elif where == "name":
        members["metadata"] = {told: None}
    message = incoming(body(token, **members), **properties)
    parsed, _ = parse(message, NOW)
    assert isinstance(parsed, Submission) is (where == "reply_to")
    echoes = (parsed.message_id, parsed.correlation_id, parsed.reply_to, parsed.metadata)
    for echo in echoes:
        assert echo is None or told not in str(echo)
    assert told not in (parsed.offer_type or "" if isinstance(parsed, Submission) else "")
    assert told not in repr(message)


# --- nothing raises ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["version", "registration_token", "received_at", "offer_type", "seller", "progress", "metadata"]
)
ANY_TEXT = st.text(st.characters(), max_size=300) | st.text(st.characters(categories=["Cs", "Cc"]))
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "message_id": st.none() | ANY_TEXT,
        "correlation_id": st.none() | ANY_TEXT,
        "reply_to": st.none() | ANY_TEXT | ANY_TEXT.map("resolution.reply.{}".format),
        "timestamp": st.none() | st.datetimes(timezones=st.just(UTC)),
        "headers": st.dictionaries(
            st.text(max_size=8)
            | st.sampled_from(
                [ATTEMPTS_HEADER, RETURNS_HEADER, RECEIVED_HEADER, FIRST_SEEN_HEADER]
            ),
            st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.booleans(),
        ),
        "internal": st.booleans(),
        "redelivered": st.booleans(),
    },
)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(NAMES, JSON).map(lambda value: json.dumps(value).encode()),
    st.dictionaries(NAMES, JSON).map(
        lambda value: json.dumps({"registration_token": "ok-1", **value}).encode()
    ),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sound submission with a few bytes changed, taken out or doubled."""
    content = bytearray(
        body(version=1, received_at="2026-11-22T11:00:00Z", seller="default", metadata={"a": "b"})
    )
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content) - 1))
        match draw(st.sampled_from(["change", "cut", "double"])):
            case "change":
                content[at] = draw(st.integers(0, 255))
            case "cut":
                del content[at : at + draw(st.integers(1, 5))]
            case _:
                content[at:at] = content[at : at + draw(st.integers(1, 20))]
        if not content:
            break
    return bytes(content)


@given(BODIES | mutated(), PROPERTIES)
def test_whatever_comes_is_read_or_refused(content: bytes, properties: dict[str, Any]) -> None:
    """No bytes and no properties raise; times never lie in the future; all is within bounds."""
    parsed, _ = parse(Incoming(content, **properties), NOW)
    assert parsed.received_at <= NOW
    assert parsed.message_id
    if isinstance(parsed, Submission):
        assert parsed.first_seen <= NOW
        assert 1 <= len(parsed.token.value) <= 8_192
        assert len(parsed.metadata or b"") <= MAX_METADATA_BYTES
    else:
        assert parsed.code.isalnum()
        assert len(parsed.reason) < 200


@settings(max_examples=40)
@given(
    metadata=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=9), JSON, max_size=5
    ).filter(lambda value: "ok-token" not in json.dumps(value)),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:  ")]),
    escape=st.booleans(),
)
def test_metadata_comes_back_byte_for_byte(
    metadata: dict[str, Any], separators: tuple[str, str], *, escape: bool
) -> None:
    """Metadata is answered with exactly the bytes that were written, blanks and escapes too."""
    written = json.dumps(metadata, separators=separators, ensure_ascii=escape)
    if "NaN" in written or "Infinity" in written or len(written.encode()) > MAX_METADATA_BYTES:
        return
    content = f'{{"registration_token":"ok-token-of-a-buyer","metadata":{written}}}'.encode()
    parsed, _ = parse(incoming(content), NOW)
    if isinstance(parsed, Malformed):  # half a surrogate pair
        assert parsed.code == "BodyNotJson"
        return
    answer = outcome_body(lifetime_exceeded(parsed, NOW), parsed, repeated=False)
    assert b'"metadata":' + written.encode() + b',"received_at":' in answer
    assert json.loads(answer)["metadata"] == metadata


# --- instants ---


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_read_back_to_the_millisecond(instant: datetime) -> None:
    """What is written is RFC 3339 in UTC with milliseconds, and reads back as such."""
    written = format_time(instant)
    assert len(written) == len("2026-11-22T12:00:00.250Z")
    assert written.endswith("Z")
    back = parse_time(written)
    assert back is not None
    assert timedelta(0) <= instant - back < timedelta(milliseconds=1)


# --- the envelope that is sealed ---


def test_the_envelope_has_a_line_of_properties_and_the_body() -> None:
    """Whoever opens a sealed message finds its properties in a line of JSON, then its body."""
    message = incoming(
        b"\xff\n{body}",
        message_id="m",
        correlation_id="c",
        reply_to="r",
        timestamp=ago(seconds=1),
        headers={"x": 1},
    )
    line, content = envelope(message).split(b"\n", 1)
    assert content == message.body
    assert json.loads(line) == {
        "message_id": "m",
        "correlation_id": "c",
        "reply_to": "r",
        "timestamp": "2026-11-22T11:59:59.250Z",
        "body_bytes": len(message.body),
    }


def test_of_a_body_that_is_too_large_the_envelope_keeps_the_opening() -> None:
    """One of 64 KiB is kept whole; of a larger one 8 KiB are, and its whole length is told."""
    fits = b"\n" * MAX_BODY_BYTES
    assert envelope(incoming(fits)).split(b"\n", 1)[1] == fits
    line, content = envelope(incoming(fits + b"x")).split(b"\n", 1)
    assert content == b"\n" * KEPT_OF_TOO_LARGE_BYTES
    assert json.loads(line)["body_bytes"] == MAX_BODY_BYTES + 1
