"""Bytes in, bytes out: the one place that knows how a submission is written.

`parse` turns a message into a `Submission` or a `Malformed`; it never raises for what a publisher
wrote. A rule that a message can break is a row of a table or a function that raises `_Unfit`.
"""

from __future__ import annotations

import hashlib
import operator
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from worker.core import secrecy
from worker.core.records import DEFAULT_SELLER, Malformed, Origin, Submission, Token
from worker.core.secrecy import Secret, contains

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_BODY_BYTES: Final = 64 * 1024
KEPT_OF_TOO_LARGE_BYTES: Final = 8 * 1024
"""So much is kept of a body beyond that: it shows what it is, and never can be replayed."""
MAX_TOKEN_CHARS: Final = 8_192
MAX_METADATA_BYTES: Final = 4 * 1024
MAX_OFFER_TYPE_CHARS: Final = 255
MAX_ROUTING_KEY_BYTES: Final = 255
VERSION: Final = 1
_MAX_INSTANT_BYTES: Final = 512  # with every character escaped
REPLY_PREFIX: Final = "resolution.reply."

# Our own headers. They count only on deliveries through `resolution.internal`, which publishers
# can't write: else anybody could age a token or use up its attempts.
ATTEMPTS_HEADER: Final = "x-resolution-attempts"
RETURNS_HEADER: Final = "x-resolution-returns"
RECEIVED_HEADER: Final = "x-resolution-received-at"
FIRST_SEEN_HEADER: Final = "x-resolution-first-seen"
CALLER_HEADER: Final = "x-resolution-caller"
REPLAY_HEADER: Final = "x-resolution-replay"
OUR_HEADERS: Final = (
    ATTEMPTS_HEADER,
    RETURNS_HEADER,
    RECEIVED_HEADER,
    FIRST_SEEN_HEADER,
    CALLER_HEADER,
    REPLAY_HEADER,
)

# Where a message stands in a trace (https://www.w3.org/TR/trace-context/): they stay with it.
TRACE_HEADERS: Final = ("traceparent", "tracestate")
MOST_TRACE_CHARS: Final = 512
MOST_SOURCE_CHARS: Final = 64
_MOST_CALLER_CHARS: Final = 255

_Raw = dict[str, msgspec.Raw]
_OBJECT: Final = msgspec.json.Decoder(_Raw)
_ANY: Final = msgspec.json.Decoder()
_TEXT: Final = msgspec.json.Decoder(str)

_PERCENT_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_WHITE_SPACE: Final = re.compile(r"\s")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Whole(NamedTuple):
    """What is known of a body of which only the beginning was kept."""

    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as the broker handed it over. Nothing in it has been looked at: `repr` tells none.

    Attributes:
        headers_unread: It has more headers than are read.
        internal: It came through `resolution.internal`, so that our headers may be believed.
        timestamp: The AMQP timestamp (resolution: one second), or None.
        user_id: The broker's user who published it, as the broker has checked.
        whole: Of a message that was `shortened`; else None.
    """

    body: bytes = field(repr=False)
    message_id: str | None = field(default=None, repr=False)
    correlation_id: str | None = field(default=None, repr=False)
    reply_to: str | None = field(default=None, repr=False)
    timestamp: datetime | None = None
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    headers_unread: bool = False
    internal: bool = False
    redelivered: bool = False
    user_id: str | None = None
    whole: Whole | None = None

    @property
    def body_bytes(self) -> int:
        """How long the body was when it was delivered."""
        return len(self.body) if self.whole is None else self.whole.size

    @property
    def body_sha256(self) -> bytes:
        """The SHA-256 of the body as it was delivered."""
        return hashlib.sha256(self.body).digest() if self.whole is None else self.whole.sha256

    @property
    def trace(self) -> dict[str, str]:
        """Where it stands in a trace, as far as that can be passed on."""
        found = ((name, self.headers.get(name)) for name in TRACE_HEADERS)
        return {
            name: value
            for name, value in found
            if isinstance(value, str) and len(value) <= MOST_TRACE_CHARS and value.isprintable()
        }


@dataclass(frozen=True, slots=True)
class Oddities:
    """What was wrong with a message without making it malformed; each is counted."""

    reply_to_ignored: bool = False
    received_at_ignored: bool = False
    source_ignored: bool = False


class _Unfit(Exception):
    """A message breaks a rule: a code for programs, a reason for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


def parse(
    incoming: Incoming, now: datetime, sellers: frozenset[str] = frozenset({DEFAULT_SELLER})
) -> tuple[Submission | Malformed, Oddities]:
    """Read one message.

    Args:
        incoming: The message as delivered.
        now: The current time (UTC).
        sellers: The seller accounts that are configured.

    Returns:
        The submission, or what is wrong with it; and the oddities that were passed over.
    """
    reply_to, reply_to_ignored = _reply_to(incoming.reply_to)
    members: _Raw = {}
    try:
        members = _members(incoming.body)
        submission, received_at_ignored = _submission(incoming, members, reply_to, now, sellers)
    except _Unfit as unfit:
        malformed, received_at_ignored = _malformed(incoming, members, unfit, reply_to, now)
        withheld = malformed.reply_to != reply_to
        return malformed, Oddities(reply_to_ignored or withheld, received_at_ignored)
    withheld = submission.reply_to != reply_to
    source_ignored = _is_given(members, "source") and not submission.origin.source
    return submission, Oddities(reply_to_ignored or withheld, received_at_ignored, source_ignored)


def _members(body: bytes) -> _Raw:
    if not body:
        raise _Unfit("BodyEmpty", "the body is empty; send a JSON object")
    if len(body) > MAX_BODY_BYTES:
        raise _Unfit("BodyTooLarge", f"the body has {len(body)} bytes; at most {MAX_BODY_BYTES}")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise _Unfit("BodyNotUtf8", f"the body is not UTF-8 at byte {error.start}") from None
    try:
        return _OBJECT.decode(body)
    except msgspec.ValidationError:
        raise _Unfit("BodyNotObject", "the body is JSON, but no object") from None
    except (msgspec.DecodeError, RecursionError):
        raise _Unfit("BodyNotJson", "the body is no JSON that can be read") from None


def _submission(
    incoming: Incoming, members: _Raw, reply_to: str | None, now: datetime, sellers: frozenset[str]
) -> tuple[Submission, bool]:
    _check_version(_value(members, "version"))
    token = _token(members)
    metadata = _metadata(members, token)
    _check_echoes(incoming, token)
    received_at, ignored = _received_at(incoming, members, now)
    submission = Submission(
        token=Token.of(token),
        seller=_seller(_value(members, "seller"), sellers),
        message_id=incoming.message_id or derived_id(incoming),
        correlation_id=incoming.correlation_id,
        reply_to=None if reply_to and contains(reply_to, token) else reply_to,
        offer_type=_offer_type(_value(members, "offer_type"), token),
        progress=_value(members, "progress") is True,
        metadata=metadata,
        received_at=received_at,
        first_seen=_first_seen(incoming, now),
        origin=Origin(_caller(incoming), _source(_value(members, "source")) or ""),
        attempts=_count(incoming, ATTEMPTS_HEADER),
        returns=_count(incoming, RETURNS_HEADER),
        redelivered=incoming.redelivered,
        replay=_replay(incoming),
    )
    return submission, ignored


def _value(members: _Raw, name: str) -> Any:
    """One member decoded; None where it is absent, null or can't be read."""
    raw = members.get(name)
    if raw is None:
        return None
    try:
        return _ANY.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise _Unfit("BodyNotJson", f"the member {name} is no JSON that can be read") from None


def _check_version(version: Any) -> None:
    if version is not None and (version is True or version != VERSION):
        raise _Unfit("VersionUnsupported", f"the version is not {VERSION}")


def _token(members: _Raw) -> str:
    if "registration_token" not in members:
        raise _Unfit("TokenMissing", "there is no registration_token")
    token = _value(members, "registration_token")
    if not isinstance(token, str):
        raise _Unfit("TokenNotText", "the registration_token is no string")
    for broken, code, reason in _TOKEN_RULES:
        if broken(token):
            raise _Unfit(code, reason)
    return token


_TOKEN_RULES: Final[tuple[tuple[Callable[[str], object], str, str], ...]] = (
    (operator.not_, "TokenEmpty", "the registration_token is empty"),
    (
        lambda t: len(t) > MAX_TOKEN_CHARS,
        "TokenTooLong",
        f"the registration_token has more than {MAX_TOKEN_CHARS} characters",
    ),
    (
        _WHITE_SPACE.search,
        "TokenHasWhiteSpace",
        "the registration_token has white space in it: the publisher must decode it exactly once",
    ),
    (
        _CONTROL.search,
        "TokenHasControlCharacter",
        "the registration_token has a control character in it",
    ),
    (
        _PERCENT_ESCAPE.search,
        "TokenPercentEncoded",
        "the registration_token has a %XX escape in it: the publisher must decode it exactly once",
    ),
)


def _metadata(members: _Raw, token: str) -> bytes | None:
    metadata = _value(members, "metadata")
    if metadata is None:
        return None
    raw = bytes(members["metadata"])
    if not isinstance(metadata, dict):
        raise _Unfit("MetadataNotObject", "metadata is no object")
    if len(raw) > MAX_METADATA_BYTES:
        raise _Unfit(
            "MetadataTooLarge", f"metadata has {len(raw)} bytes; at most {MAX_METADATA_BYTES}"
        )
    if any(contains(text, token) for text in secrecy.texts(raw)):
        raise _Unfit("MetadataContainsToken", "metadata contains the token, which is a secret")
    return raw


def _check_echoes(incoming: Incoming, token: str) -> None:
    """What is echoed in replies and written into logs must not give the token away."""
    for name, value in (
        ("MessageId", incoming.message_id),
        ("CorrelationId", incoming.correlation_id),
    ):
        if value and contains(value, token):
            raise _Unfit(f"{name}ContainsToken", f"the {name} contains the token, a secret")


def _seller(seller: Any, sellers: frozenset[str]) -> str:
    if seller is None:
        return DEFAULT_SELLER
    if not isinstance(seller, str) or seller not in sellers:
        known = ", ".join(sorted(sellers))
        raise _Unfit("SellerUnknown", f"the seller is none that is configured ({known})")
    return seller


def _offer_type(offer_type: Any, token: str) -> str | None:
    if offer_type is None:
        return None
    if (
        not isinstance(offer_type, str)
        or len(offer_type) > MAX_OFFER_TYPE_CHARS
        or _CONTROL.search(offer_type)
    ):
        raise _Unfit(
            "OfferTypeUnfit",
            f"offer_type is no string of at most {MAX_OFFER_TYPE_CHARS} printable characters",
        )
    if contains(offer_type, token):
        raise _Unfit("OfferTypeContainsToken", "offer_type contains the token, which is a secret")
    return offer_type


def _reply_to(reply_to: str | None) -> tuple[str | None, bool]:
    """The routing key for replies, and whether one was named that is not acceptable."""
    if not reply_to:
        return None, False
    fits = (
        reply_to.startswith(REPLY_PREFIX)
        and reply_to.isprintable()  # so that it surely can be encoded
        and len(reply_to.encode()) <= MAX_ROUTING_KEY_BYTES
    )
    return (reply_to, False) if fits else (None, True)


def _received_at(incoming: Incoming, members: _Raw, now: datetime) -> tuple[datetime, bool]:
    """When the browser delivered the token, and whether what the message says was passed over."""
    if carried := _instant_header(incoming, RECEIVED_HEADER):
        return min(carried, now), False
    if _is_given(members, "received_at"):
        said = _said_instant(members)
        return (said, False) if said is not None and _EARLIEST <= said <= now else (now, True)
    if incoming.timestamp is None:
        return now, False
    sound = _EARLIEST <= incoming.timestamp <= now
    return (incoming.timestamp if sound else now), not sound


def _said_instant(members: _Raw) -> datetime | None:
    if len(bytes(members["received_at"])) > _MAX_INSTANT_BYTES:
        return None
    try:
        return read_instant(_value(members, "received_at"))
    except _Unfit:
        return None


def _caller(incoming: Incoming) -> str:
    """Whose message it is; a move of ours is the worker's own, and carries it on."""
    told = incoming.headers.get(CALLER_HEADER) if incoming.internal else incoming.user_id
    return told if isinstance(told, str) and len(told) <= _MOST_CALLER_CHARS else ""


def _source(told: Any) -> str | None:
    """Who brought the token, as a publisher tells it; None if that can't be taken."""
    return told if isinstance(told, str) and len(told) <= MOST_SOURCE_CHARS else None


def _is_given(members: _Raw, name: str) -> bool:
    return bytes(members.get(name, b"null")) != b"null"


def _first_seen(incoming: Incoming, now: datetime) -> datetime:
    """When a worker first read this message: no time that a publisher wrote counts."""
    return min(_instant_header(incoming, FIRST_SEEN_HEADER) or now, now)


def read_instant(value: Any) -> datetime | None:
    """An RFC 3339 instant, or None for anything else; one without an offset says too little."""
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value.upper())  # RFC 3339 allows a small t and z
        return None if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def format_time(instant: datetime) -> str:
    """An instant as RFC 3339 in UTC, to the millisecond."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _instant_header(incoming: Incoming, name: str) -> datetime | None:
    """Milliseconds since the epoch, written by a worker."""
    millis = _count(incoming, name)
    return _EPOCH + timedelta(milliseconds=millis) if 0 < millis < _LATEST_MILLIS else None


def _replay(incoming: Incoming) -> datetime | None:
    """Since when it is a replay; for ever where the header does not say, as it once did not."""
    if not incoming.internal or REPLAY_HEADER not in incoming.headers:
        return None
    millis = _count(incoming, REPLAY_HEADER)
    return _EPOCH + timedelta(milliseconds=millis) if 1 < millis < _LATEST_MILLIS else ALWAYS_CALLS


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST: Final = _EPOCH + timedelta(days=1)
"""An instant before it is an empty field that somebody has filled with zero."""
ALWAYS_CALLS: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""The instant of a replay that no outcome in the ledger answers."""
_LATEST_MILLIS: Final = int((ALWAYS_CALLS - _EPOCH).total_seconds() * 1000)


def _count(incoming: Incoming, name: str) -> int:
    value = incoming.headers.get(name) if incoming.internal else None
    return value if isinstance(value, int) and value > 0 else 0


def derived_id(incoming: Incoming) -> str:
    """The message id of a message that has none: the same for the same message each time."""
    stamp = "" if incoming.timestamp is None else incoming.timestamp.isoformat()
    return "derived-" + hashlib.sha256(incoming.body + stamp.encode()).hexdigest()[:32]


def _malformed(
    incoming: Incoming, members: _Raw, unfit: _Unfit, reply_to: str | None, now: datetime
) -> tuple[Malformed, bool]:
    """All that may be said of a message whose echoes may hold its token."""
    members = members or _oversized(incoming.body)
    token = _token_text(members)
    secret = Secret.of_token(token) if token else Secret.of_body(_opening(incoming.body))
    received_at, received_at_ignored = _received_at(incoming, members, now)
    malformed = Malformed(
        code=unfit.code,
        reason=unfit.reason,
        body_sha256=incoming.body_sha256,
        token_sha256=Token.of(token).sha256 if token else None,
        message_id=secret.withhold(incoming.message_id) or derived_id(incoming),
        correlation_id=secret.withhold(incoming.correlation_id),
        reply_to=secret.withhold(reply_to),
        # Where no token could be read, metadata is part of the very body that may hold it.
        metadata=_harmless_metadata(members, secret) if token else None,
        received_at=received_at,
    )
    return malformed, received_at_ignored


def _oversized(body: bytes) -> _Raw:
    """The members of a body that is too large: read only to know what must not be echoed."""
    if len(body) <= MAX_BODY_BYTES:
        return {}
    try:
        return _OBJECT.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}


def _opening(body: bytes) -> str:
    return body[:MAX_BODY_BYTES].decode(errors="replace")


def _token_text(members: _Raw) -> str | None:
    try:
        return _TEXT.decode(members.get("registration_token", b""))
    except msgspec.DecodeError:
        return None


def _harmless_metadata(members: _Raw, secret: Secret) -> bytes | None:
    raw = bytes(members.get("metadata", b""))
    if len(raw) > MAX_METADATA_BYTES:
        return None
    try:
        metadata = _value(members, "metadata")
    except _Unfit:
        return None
    if not isinstance(metadata, dict):
        return None
    leaks = any(secret.gives_away(text) for text in secrecy.texts(raw))
    return None if leaks else raw


def _millis(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def headers(submission: Submission, *, attempts: int, returns: int) -> dict[str, int | str]:
    """Our headers for a message that goes back into a lane or a retry queue."""
    carried: dict[str, int | str] = {
        ATTEMPTS_HEADER: attempts,
        RETURNS_HEADER: returns,
        RECEIVED_HEADER: _millis(submission.received_at),
        FIRST_SEEN_HEADER: _millis(submission.first_seen),
    }
    if submission.origin.caller:
        carried[CALLER_HEADER] = submission.origin.caller
    if submission.replay is not None:
        carried[REPLAY_HEADER] = _millis(submission.replay)
    return carried


def envelope(incoming: Incoming) -> bytes:
    """What is sealed of a message: a line of JSON with its properties, then its body.

    Of a body that is too large only the opening is kept. It is for whoever holds an opening key.
    """
    properties = {
        "message_id": incoming.message_id,
        "correlation_id": incoming.correlation_id,
        "reply_to": incoming.reply_to,
        "timestamp": None if incoming.timestamp is None else format_time(incoming.timestamp),
        "body_bytes": incoming.body_bytes,
    }
    return msgspec.json.encode(properties) + b"\n" + _kept(incoming.body)


def _kept(body: bytes) -> bytes:
    return body if len(body) <= MAX_BODY_BYTES else body[:KEPT_OF_TOO_LARGE_BYTES]


def shortened(incoming: Incoming, sha256: bytes | None = None) -> Incoming:
    """A message that was read, without what is never sealed of its body; most stay as they are.

    Args:
        incoming: The message.
        sha256: Of its body, if that is known.
    """
    kept = _kept(incoming.body)
    if kept is incoming.body:
        return incoming
    return replace(
        incoming, body=kept, whole=Whole(incoming.body_bytes, sha256 or incoming.body_sha256)
    )


class _Properties(msgspec.Struct):
    body_bytes: int
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    timestamp: str | None = None


_PROPERTIES: Final = msgspec.json.Decoder(_Properties)


def read_envelope(envelope: bytes) -> Incoming | None:
    """The message that `envelope` was made of, without its headers.

    Returns:
        None where not all of its body was kept, or where this is no envelope.
    """
    line, _, body = envelope.partition(b"\n")
    try:
        properties = _PROPERTIES.decode(line)
    except msgspec.DecodeError:
        return None
    if properties.body_bytes != len(body):
        return None
    return Incoming(
        body,
        properties.message_id,
        properties.correlation_id,
        properties.reply_to,
        read_instant(properties.timestamp),
    )
