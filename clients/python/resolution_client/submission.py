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
from resolution_client.token_rules import unfit

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_FIELD: Final = "x-amzn-marketplace-token"  # noqa: S105 - a name
OFFER_TYPE_FIELD: Final = "x-amzn-marketplace-offer-type"
MOST_METADATA_BYTES: Final = 4 * 1024
MOST_SOURCE_CHARS: Final = 64
_MARK: Final = "\ufeff"
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
    token: str,
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
    token = _checked(token)
    if source is not None and len(source) > MOST_SOURCE_CHARS:
        raise ValueError(f"source has more than {MOST_SOURCE_CHARS} characters")
    members = {
        "version": VERSION,
        "registration_token": token,
        "received_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "seller": seller,
        "source": source,
        "offer_type": offer_type,
        "metadata": _metadata(metadata, token),
    }
    given = {name: value for name, value in members.items() if value is not None}
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    return Submission(str(uuid.uuid4()), sha256, seller, json.dumps(given).encode())


def form_fields(form: Mapping[str, Any]) -> tuple[str, str | None]:
    """Token and offer type of the form that AWS has the buyer's browser post.

    Args:
        form: Fields as a web framework gives them, decoded once; lists of values are taken too.

    Raises:
        BadToken: There is no token field.
    """
    token = _first(form.get(TOKEN_FIELD))
    if token is None:
        raise BadToken("TokenMissing", f"the form has no field {TOKEN_FIELD}")
    return token, _first(form.get(OFFER_TYPE_FIELD)) or None


def refused(form: Mapping[str, Any], fault: BadToken, metadata: Mapping[str, Any] | None) -> Failed:
    """The answer to a form that can't hold a token: nothing was published."""
    text = _first(form.get(TOKEN_FIELD)) or ""
    now = datetime.now(UTC)
    return Failed(
        message_id=str(uuid.uuid4()),
        token_sha256=hashlib.sha256(text.encode(errors="replace")).hexdigest(),
        repeated=False,
        metadata=dict(metadata or {}),
        received_at=now,
        settled_at=now,
        status="malformed",
        error_code=fault.code,
    )


def _first(value: Any) -> str | None:
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value if isinstance(value, str) else None


def _checked(token: object) -> str:
    if not isinstance(token, str):
        raise BadToken("TokenNotText", "the token is no text")
    token = token.removeprefix(_MARK)
    if why := unfit(token):
        raise BadToken(*why)
    if _HALF_CHARACTER.search(token):
        raise BadToken("TokenNotText", "the token has half a character in it")
    return token


def _metadata(metadata: Mapping[str, Any] | None, token: str) -> dict[str, Any] | None:
    if metadata is None:
        return None
    try:
        text = json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError):
        text = ""
    if not text:
        raise ValueError("metadata is no object that JSON can carry")
    if len(text) > MOST_METADATA_BYTES:
        raise ValueError(f"metadata has {len(text)} bytes; at most {MOST_METADATA_BYTES}")
    if json.dumps(token)[1:-1] in text:
        raise ValueError("metadata contains the token, which is a secret")
    return dict(metadata)
