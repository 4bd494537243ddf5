"""The messages that are sent: those that can be read, and those that can't."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from datetime import datetime

    from worker.lab.demo.kinds import Kind
    from worker.lab.demo.malformed import Blunder


@dataclass(frozen=True, slots=True)
class Submission:
    """One readable message.

    Attributes:
        message_id: Its id, no other's.
        token: Its token; a copy has that of another submission.
        customer: Whose token it is, where several are one customer's.
        lane: `live` or `backlog`.
        reply_to: Where the reply goes, if one is asked for.
    """

    message_id: str
    token: str = field(repr=False)
    kind: Kind
    customer: str | None
    lane: str
    is_copy: bool = False
    reply_to: str | None = None

    @property
    def sha256(self) -> bytes:
        """The token's fingerprint, by which the ledger knows it."""
        return hashlib.sha256(self.token.encode()).digest()

    def line(self, now: datetime) -> bytes:
        """What `resolution-worker publish` reads for it.

        Args:
            now: When the buyer's browser delivers it, unless its kind is older than that.
        """
        members = {
            **_members(self.message_id, self.token, now - self.kind.age),
            "correlation_id": f"for-{self.message_id}",
            "reply_to": self.reply_to,
            "metadata": {"kind": self.kind.name},
        }
        return msgspec.json.encode(members) + b"\n"


@dataclass(frozen=True, slots=True)
class Spoilt:
    """One message that can't be read."""

    message_id: str
    token: str = field(repr=False)
    blunder: Blunder

    def line(self, now: datetime) -> bytes:
        """What `resolution-worker publish` reads for it; only for one that is a submission."""
        assert self.blunder.members is not None
        spoilt = _filled(self.blunder.members, self.token)
        return msgspec.json.encode(_members(self.message_id, self.token, now) | spoilt) + b"\n"


def _members(message_id: str, token: str, received_at: datetime) -> dict[str, Any]:
    return {
        "version": 1,
        "registration_token": token,
        "received_at": received_at,
        "message_id": message_id,
    }


def _filled(value: Any, token: str) -> Any:
    if isinstance(value, str):
        return value.replace("{token}", token)
    if hasattr(value, "items"):
        return {name: _filled(inner, token) for name, inner in value.items()}
    return value
