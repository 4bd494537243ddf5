"""A submission: what is published of a token, the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypedDict

from resolution_client.answers import VERSION, Failed
from resolution_client.errors import BadToken
from resolution_client.hidden import Hidden
from resolution_client.token_rules import unfit

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_FIELD: Final = "x-amzn-marketplace-token"  # noqa: S105 - a name
OFFER_TYPE_FIELD: Final = "x-amzn-marketplace-offer-type"
MOST_METADATA_BYTES: Final = 4 * 1024
MOST_SOURCE_CHARS: Final = 64
_MARK: Final = "\ufeff"
MOST_OFFER_TYPE_CHARS: Final = 255
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HALF_CHARACTER: Final = re.compile("[\ud800-\udfff]")


class FormOptions(TypedDict, total=False):
    """What may be said of a form beside its fields; `Resolver.resolve` explains each."""

    source: str | None
    seller: str
    metadata: Mapping[str, Any] | None


class Options(FormOptions, total=False):
    """What may be said of a token."""

    offer_type: str | None


@dataclass(frozen=True, slots=True)
class Submission:
    """One submission of a token.

    Attributes:
        message_id: Unique; the same when it is sent again.
        token_sha256: Of the token, in hex: what an answer must carry.
        seller: The seller account that was named.
        body: JSON, with the token in it; not shown.
    """

    message_id: str
    token_sha256: str
    seller: str
    body: bytes = field(repr=False)


def submission(
    token: Hidden[Any],
    *,
    source: str | None,
    offer_type: str | None,
    seller: str,
    metadata: Mapping[str, Any] | None,
) -> Submission:
    """Prepare a submission, by the worker's own rules.

    Raises:
        BadToken: It can't be a token.
        ValueError: Another argument can't be sent; the message names it and never the token.
    """
    if unfit := _unfit(token.value):
        raise BadToken(*unfit)
    if fault := _fault(token.value, source, offer_type, metadata):
        raise ValueError(fault)
    text = token.value.removeprefix(_MARK)
    members = {
        "version": VERSION,
        "registration_token": text,
        "received_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "seller": seller,
        "source": source,
        "offer_type": offer_type,
        "metadata": None if metadata is None else dict(metadata),
    }
    given = {name: value for name, value in members.items() if value is not None}
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Submission(str(uuid.uuid4()), sha256, seller, _json(given).encode())


def form_fields(form: Mapping[str, Any]) -> tuple[Hidden[str | None], str | None]:
    """Token and offer type of the form that AWS has the buyer's browser post.

    Args:
        form: Fields as a web framework gives them, decoded once; lists of values are taken too.
    """
    return Hidden(_first(form.get(TOKEN_FIELD))), _first(form.get(OFFER_TYPE_FIELD)) or None


def form_fault(token: Hidden[str | None], offer_type: str | None) -> str | None:
    """Why a form can't be resolved, as a code; None if it can."""
    if token.value is None:
        return "TokenMissing"
    if unfit := _unfit(token.value):
        return unfit[0]
    return "OfferTypeUnfit" if _offer_type_fault(token.value, offer_type) else None


def refused(token: Hidden[str | None], code: str, metadata: Mapping[str, Any] | None) -> Failed:
    """The answer to a form that can't be resolved: nothing was published."""
    now = datetime.now(UTC)
    return Failed(
        message_id=str(uuid.uuid4()),
        token_sha256=hashlib.sha256((token.value or "").encode(errors="replace")).hexdigest(),
        repeated=False,
        metadata=dict(metadata or {}),
        received_at=now,
        settled_at=now,
        status="malformed",
        error_code=code,
    )


def _first(value: Any) -> str | None:
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value if isinstance(value, str) else None


def _unfit(token: object) -> tuple[str, str] | None:
    """A code and a reason, if it can't be a token; neither quotes it."""
    if not isinstance(token, str):
        return "TokenNotText", "the token is no text"
    if why := unfit(token.removeprefix(_MARK)):
        return why
    if _HALF_CHARACTER.search(token):
        return "TokenNotText", "the token has half a character in it"
    return None


def _fault(
    token: str, source: str | None, offer_type: str | None, metadata: Mapping[str, Any] | None
) -> str | None:
    """Which argument can't be sent, and why."""
    if source is not None and (len(source) > MOST_SOURCE_CHARS or _HALF_CHARACTER.search(source)):
        return f"source is no text of at most {MOST_SOURCE_CHARS} characters"
    return _offer_type_fault(token, offer_type) or _metadata_fault(token, metadata)


def _offer_type_fault(token: str, offer_type: str | None) -> str | None:
    if offer_type is None:
        return None
    unprintable = _CONTROL.search(offer_type) or _HALF_CHARACTER.search(offer_type)
    if unprintable or len(offer_type) > MOST_OFFER_TYPE_CHARS:
        return f"offer_type is no text of at most {MOST_OFFER_TYPE_CHARS} printable characters"
    return "offer_type contains the token, which is a secret" if token in offer_type else None


def _metadata_fault(token: str, metadata: Mapping[str, Any] | None) -> str | None:
    if metadata is None:
        return None
    try:
        size = len(_json(dict(metadata)).encode())
    except (TypeError, ValueError):
        return "metadata is not an object that JSON can carry"
    if size > MOST_METADATA_BYTES:
        return f"metadata has {size} bytes; at most {MOST_METADATA_BYTES}"
    if _json(token)[1:-1] in _json(dict(metadata)):
        return "metadata contains the token, which is a secret"
    return None


def _json(value: object) -> str:
    """As UTF-8 the shortest: the broker refuses large messages, and closes the channel for it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
