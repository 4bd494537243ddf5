"""Reads a message into a `Submission`, or says what is wrong with it.

`parse` never raises for what a publisher wrote. A rule that a message can break is a row of a table
or a function that raises `Unfit`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.core import secrecy
from worker.core.encodings import without_mark
from worker.core.records import DEFAULT_SELLER, Malformed, Origin, Submission, Token
from worker.core.secrecy import contains
from worker.core.token import headers
from worker.core.token.incoming import derived_id
from worker.core.token.malformed import MAX_METADATA_BYTES, malformed
from worker.core.token.members import Unfit, is_given, members_of, received_at, value
from worker.core.token.token_rules import unfit

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.token.incoming import Incoming
    from worker.core.token.members import Members

MAX_OFFER_TYPE_CHARS: Final = 255
MAX_ROUTING_KEY_BYTES: Final = 255
MOST_SOURCE_CHARS: Final = 64
VERSION: Final = 1
REPLY_PREFIX: Final = "resolution.reply."

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Ignored:
    """Members that were ignored since they can't be used; each is counted."""

    reply_to_ignored: bool = False
    received_at_ignored: bool = False
    source_ignored: bool = False


def parse(
    incoming: Incoming, now: datetime, sellers: frozenset[str] = frozenset({DEFAULT_SELLER})
) -> tuple[Submission | Malformed, Ignored]:
    """Read one message.

    Args:
        incoming: The message as delivered.
        now: The current time (UTC).
        sellers: The seller accounts that are configured.

    Returns:
        The submission, or what is wrong with it; and what was ignored.
    """
    reply_to, reply_to_ignored = _reply_to(incoming.reply_to)
    members: Members = {}
    try:
        members = members_of(incoming.body)
        submission, received_at_ignored = _submission(incoming, members, reply_to, now, sellers)
    except Unfit as unfit:
        described, received_at_ignored = malformed(incoming, members, unfit, reply_to, now)
        withheld = described.reply_to != reply_to
        return described, Ignored(reply_to_ignored or withheld, received_at_ignored)
    withheld = submission.reply_to != reply_to
    source_ignored = is_given(members, "source") and not submission.origin.source
    return submission, Ignored(reply_to_ignored or withheld, received_at_ignored, source_ignored)


def _submission(
    incoming: Incoming,
    members: Members,
    reply_to: str | None,
    now: datetime,
    sellers: frozenset[str],
) -> tuple[Submission, bool]:
    _check_version(value(members, "version"))
    token = _token(members)
    metadata = _metadata(members, token)
    _check_echoes(incoming, token)
    received, ignored = received_at(incoming, members, now)
    submission = Submission(
        token=Token.of(token),
        seller=_seller(value(members, "seller"), sellers),
        message_id=incoming.message_id or derived_id(incoming),
        correlation_id=incoming.correlation_id,
        reply_to=None if reply_to and contains(reply_to, token) else reply_to,
        offer_type=_offer_type(value(members, "offer_type"), token),
        progress=value(members, "progress") is True,
        metadata=metadata,
        received_at=received,
        first_seen=headers.first_seen(incoming, now),
        origin=Origin(headers.caller(incoming), _source(value(members, "source")) or ""),
        attempts=headers.count(incoming, headers.ATTEMPTS_HEADER),
        returns=headers.count(incoming, headers.RETURNS_HEADER),
        redelivered=incoming.redelivered,
        replay=headers.replay(incoming),
        entry_lane=headers.entry_lane(incoming),
    )
    return submission, ignored


def _check_version(version: Any) -> None:
    if version is not None and (version is True or version != VERSION):
        raise Unfit("VersionUnsupported", f"the version is not {VERSION}")


def _token(members: Members) -> str:
    if "registration_token" not in members:
        raise Unfit("TokenMissing", "there is no registration_token")
    token = value(members, "registration_token")
    if not isinstance(token, str):
        raise Unfit("TokenNotText", "the registration_token is not a string")
    token = without_mark(token)
    if why := unfit(token):
        raise Unfit(*why)
    return token


def _metadata(members: Members, token: str) -> bytes | None:
    metadata = value(members, "metadata")
    if metadata is None:
        return None
    raw = bytes(members["metadata"])
    if not isinstance(metadata, dict):
        raise Unfit("MetadataNotObject", "metadata is not an object")
    if len(raw) > MAX_METADATA_BYTES:
        raise Unfit(
            "MetadataTooLarge", f"metadata has {len(raw)} bytes; at most {MAX_METADATA_BYTES}"
        )
    if any(contains(text, token) for text in secrecy.texts(raw)):
        raise Unfit("MetadataContainsToken", "metadata contains the token, which is a secret")
    return raw


def _check_echoes(incoming: Incoming, token: str) -> None:
    """What is echoed in replies and written into logs must not give the token away."""
    for name, echo in (
        ("MessageId", incoming.message_id),
        ("CorrelationId", incoming.correlation_id),
    ):
        if echo and contains(echo, token):
            raise Unfit(f"{name}ContainsToken", f"the {name} contains the token, a secret")


def _seller(seller: Any, sellers: frozenset[str]) -> str:
    if seller is None:
        return DEFAULT_SELLER
    if not isinstance(seller, str) or seller not in sellers:
        known = ", ".join(sorted(sellers))
        raise Unfit("SellerUnknown", f"the seller is not configured; configured: {known}")
    return seller


def _offer_type(offer_type: Any, token: str) -> str | None:
    if offer_type is None:
        return None
    if (
        not isinstance(offer_type, str)
        or len(offer_type) > MAX_OFFER_TYPE_CHARS
        or _CONTROL.search(offer_type)
    ):
        raise Unfit(
            "OfferTypeUnfit",
            f"offer_type is not a string of at most {MAX_OFFER_TYPE_CHARS} printable characters",
        )
    if contains(offer_type, token):
        raise Unfit("OfferTypeContainsToken", "offer_type contains the token, which is a secret")
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


def _source(told: Any) -> str | None:
    """Who brought the token, as a publisher tells it; None if that can't be taken."""
    return told if isinstance(told, str) and len(told) <= MOST_SOURCE_CHARS else None
