"""What may be said of a message that can't be read: whatever it echoes may hold its token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from worker.core import secrecy
from worker.core.encodings import without_mark
from worker.core.records import Malformed, Token
from worker.core.secrecy import Secret
from worker.core.token.incoming import MAX_BODY_BYTES, derived_id
from worker.core.token.members import Unfit, of_oversized, received_at, value

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.token.incoming import Incoming
    from worker.core.token.members import Members

MAX_METADATA_BYTES: Final = 4 * 1024
_TEXT: Final = msgspec.json.Decoder(str)


def malformed(
    incoming: Incoming, members: Members, unfit: Unfit, reply_to: str | None, now: datetime
) -> tuple[Malformed, bool]:
    """All that may be said of it, and whether its `received_at` was ignored.

    Args:
        incoming: The message.
        members: As far as they could be read.
        unfit: Which rule it breaks.
        reply_to: Where an answer would go.
        now: The current time (UTC).
    """
    members = members or of_oversized(incoming.body)
    token = _token_text(members)
    secret = Secret.of_token(token) if token else Secret.of_body(_opening(incoming.body))
    received, ignored = received_at(incoming, members, now)
    described = Malformed(
        code=unfit.code,
        reason=unfit.reason,
        body_sha256=incoming.body_sha256,
        token_sha256=Token.of(token).sha256 if token else None,
        message_id=secret.withhold(incoming.message_id) or derived_id(incoming),
        correlation_id=secret.withhold(incoming.correlation_id),
        reply_to=secret.withhold(reply_to),
        # Where no token could be read, metadata is part of the very body that may hold it.
        metadata=_harmless_metadata(members, secret) if token else None,
        received_at=received,
    )
    return described, ignored


def _opening(body: bytes) -> str:
    return body[:MAX_BODY_BYTES].decode(errors="replace")


def _token_text(members: Members) -> str | None:
    try:
        return without_mark(_TEXT.decode(members.get("registration_token", b"")))
    except msgspec.DecodeError:
        return None


def _harmless_metadata(members: Members, secret: Secret) -> bytes | None:
    raw = bytes(members.get("metadata", b""))
    if len(raw) > MAX_METADATA_BYTES:
        return None
    try:
        metadata = value(members, "metadata")
    except Unfit:
        return None
    if not isinstance(metadata, dict):
        return None
    leaks = any(secret.gives_away(text) for text in secrecy.texts(raw))
    return None if leaks else raw
