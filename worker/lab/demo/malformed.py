"""Messages that no worker can read, as publishers get them wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Blunder:
    """One way to get a message wrong.

    Attributes:
        code: The error code that answers it.
        members: What the submission says instead, by member; `{token}` stands for the token.
        body: The whole body instead, for one that is no submission at all.
    """

    code: str
    members: Mapping[str, Any] | None = None
    body: bytes | None = None


BLUNDERS: Final = (
    Blunder("TokenEmpty", {"registration_token": ""}),
    Blunder("TokenHasWhiteSpace", {"registration_token": "{token} {token}"}),
    Blunder("TokenPercentEncoded", {"registration_token": "{token}%2B"}),
    Blunder("SellerUnknown", {"seller": "nobody"}),
    Blunder("VersionUnsupported", {"version": 9}),
    Blunder("MetadataNotObject", {"metadata": "text"}),
    Blunder("MetadataContainsToken", {"metadata": {"cookie": "x-{token}"}}),
    Blunder("BodyEmpty", body=b""),
    Blunder("BodyNotJson", body=b"registration_token=form-encoded"),
)
