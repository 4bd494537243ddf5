"""The members of a submission's body, each decoded when it is asked for."""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from worker.core.timestamps import EARLIEST, parse_time
from worker.core.token import headers
from worker.core.token.incoming import MAX_BODY_BYTES

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.token.incoming import Incoming

Members: TypeAlias = "dict[str, msgspec.Raw]"

# With its mark, or the first character of a JSON object in either order.
_WIDE: Final = (BOM_UTF16_LE, BOM_UTF16_BE, b"{\x00", b"\x00{", b"\x00\x00")
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY: Final = msgspec.json.Decoder()
_MAX_TIME_BYTES: Final = 512  # with every character escaped


class Unfit(Exception):
    """A message breaks a rule: a code for programs, a reason for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


def members_of(body: bytes) -> Members:
    """The members of a body, not decoded yet.

    Raises:
        Unfit: It is no JSON object, or too large.
    """
    if not body:
        raise Unfit("BodyEmpty", "the body is empty; send a JSON object")
    if len(body) > MAX_BODY_BYTES:
        raise Unfit("BodyTooLarge", f"the body has {len(body)} bytes; at most {MAX_BODY_BYTES}")
    if body.startswith(_WIDE):
        raise Unfit("BodyNotUtf8", "the body is UTF-16 or UTF-32; encode it as UTF-8")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Unfit("BodyNotUtf8", f"the body is not UTF-8 at byte {error.start}") from None
    try:
        return _OBJECT.decode(body.removeprefix(BOM_UTF8))
    except msgspec.ValidationError:
        raise Unfit("BodyNotObject", "the body is JSON, but no object") from None
    except (msgspec.DecodeError, RecursionError):
        raise Unfit("BodyNotJson", "the body is not JSON that can be read") from None


def of_oversized(body: bytes) -> Members:
    """The members of a body that is too large, read only to know what must not be echoed."""
    if len(body) <= MAX_BODY_BYTES:
        return {}
    try:
        return _OBJECT.decode(body.removeprefix(BOM_UTF8))
    except (msgspec.DecodeError, RecursionError):
        return {}


def value(members: Members, name: str) -> Any:
    """One member decoded; None where it is absent or null.

    Raises:
        Unfit: It is no JSON that can be read.
    """
    raw = members.get(name)
    if raw is None:
        return None
    try:
        return _ANY.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise Unfit("BodyNotJson", f"the member {name} is not JSON that can be read") from None


def is_given(members: Members, name: str) -> bool:
    """Whether a member is there, and not null."""
    return bytes(members.get(name, b"null")) != b"null"


def received_at(incoming: Incoming, members: Members, now: datetime) -> tuple[datetime, bool]:
    """When the browser delivered the token, and whether what the message says of it was ignored."""
    if carried := headers.received_at(incoming):
        return min(carried, now), False
    if is_given(members, "received_at"):
        written = _written_time(members)
        if written is None or not EARLIEST <= written <= now:
            return now, True
        return written, False
    if incoming.timestamp is None:
        return now, False
    sound = EARLIEST <= incoming.timestamp <= now
    return (incoming.timestamp if sound else now), not sound


def _written_time(members: Members) -> datetime | None:
    if len(bytes(members["received_at"])) > _MAX_TIME_BYTES:
        return None
    try:
        return parse_time(value(members, "received_at"))
    except Unfit:
        return None
