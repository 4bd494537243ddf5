"""The nouns of the service: frozen records that every floor shares."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

DEFAULT_SELLER: Final = "default"


class Lane(StrEnum):
    """The ways in; also the routing keys of `resolution.internal`, and all but one of `resolution`.

    CROWD takes what one source sends beyond its turns, and nobody publishes to it but workers.
    """

    LIVE = "token"
    BACKLOG = "backlog"
    CROWD = "crowd"

    @property
    def label(self) -> str:
        """The lane's name in metrics, logs and options: `live`, `backlog` or `crowd`."""
        return "live" if self is Lane.LIVE else self.value


class Origin(NamedTuple):
    """Who sent a token.

    Attributes:
        caller: The broker's user; empty if the message names none.
        source: Who brought it to that caller; empty if that is not told. Those of a caller that
            are not told are one.
    """

    caller: str = ""
    source: str = ""


NOBODY: Final = Origin()
"""Who sent a token of which that is not told."""


class Status(StrEnum):
    """What became of a submission."""

    RESOLVED = "resolved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DEAD = "dead"
    MALFORMED = "malformed"


class Advice(StrEnum):
    """What the web tier should tell a buyer who was not let in."""

    RESTART = "restart_from_marketplace"
    CONTACT_SELLER = "contact_seller"


ADVICE: Final[dict[Status, Advice | None]] = {
    Status.RESOLVED: None,
    Status.REJECTED: Advice.RESTART,
    Status.EXPIRED: Advice.RESTART,
    Status.DEAD: Advice.CONTACT_SELLER,
    Status.MALFORMED: Advice.CONTACT_SELLER,
}


class TokenKey(NamedTuple):
    """What names a token in the ledger, without being able to redeem it."""

    seller: str
    sha256: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A registration token. It is a secret, and hides itself in `repr` and `str`."""

    value: str
    sha256: bytes

    @classmethod
    def of(cls, value: str) -> Token:
        """The token with its SHA-256 fingerprint (over its UTF-8 bytes)."""
        return cls(value, hashlib.sha256(value.encode()).digest())

    @property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256: enough to find it in the ledger."""
        return self.sha256[:8].hex()

    def __repr__(self) -> str:
        return f"<token {self.fingerprint}>"


@dataclass(frozen=True, slots=True)
class Submission:
    """One readable message: a token, and who wants to know what became of it.

    Attributes:
        received_at: When the buyer's browser delivered the token, as far as the message says. It
            sets order and patience, and settles nothing: a publisher's clock may be off.
        first_seen: When a worker first saw the token, by the database's clock: its age runs from
            here.
        origin: Who sent it.
        attempts: Calls already spent on it that count.
        returns: How often it has come back from a retry queue for a fault that counts.
        redelivered: The broker may have handed out this very message before.
        replay: On-call asked for it again, at this instant: it calls, unless the outcome that the
            ledger holds is a later one. None for what nobody asked for again.
        reply_to: Routing key on `resolution.answers`, already found acceptable, or None.
        metadata: The JSON object as it was written, or None.
    """

    token: Token = field(repr=False)
    seller: str
    message_id: str
    correlation_id: str | None
    reply_to: str | None
    offer_type: str | None
    progress: bool
    metadata: bytes | None = field(repr=False)
    received_at: datetime
    first_seen: datetime
    origin: Origin = NOBODY
    attempts: int = 0
    returns: int = 0
    redelivered: bool = False
    replay: datetime | None = None

    @property
    def key(self) -> TokenKey:
        """What names this submission's token in the ledger."""
        return TokenKey(self.seller, self.token.sha256)


@dataclass(frozen=True, slots=True)
class Malformed:
    """One message that can't be read, and all that may safely be said about it.

    `message_id`, `correlation_id` and `metadata` are free of the token: what contained it was
    replaced or left out.
    """

    code: str
    reason: str
    body_sha256: bytes
    token_sha256: bytes | None
    message_id: str
    correlation_id: str | None
    reply_to: str | None
    metadata: bytes | None = field(repr=False)
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What AWS said a token stands for. Every member is optional in the API's own model."""

    product_code: str
    customer_aws_account_id: str | None = None
    customer_identifier: str | None = None
    license_arn: str | None = None
    agreement_id: str | None = None


class FaultKind(StrEnum):
    """Whose fault a failed call is; also the `result` label of the call metrics."""

    TOKEN = "token"  # noqa: S105 - a label
    THROTTLED = "throttled"
    TRANSIENT = "transient"
    SYSTEMIC = "systemic"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a call gave no answer: whose fault, AWS's (or our) code, and words for a person.

    `status` is the settled status where the kind is TOKEN (`rejected` or `expired`), else None.
    """

    kind: FaultKind
    code: str
    message: str
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What stands in the ledger for one token: a row of the view `resolution.outcomes`.

    Attributes:
        first_seen: When a worker first saw the token, by the database's clock. Rows of the
            releases before know only when they were settled.
    """

    key: TokenKey
    status: Status
    message_id: str
    attempts: int
    received_at: datetime
    settled_at: datetime
    product_code: str | None = None
    customer_aws_account_id: str | None = None
    customer_identifier: str | None = None
    license_arn: str | None = None
    agreement_id: str | None = None
    offer_type: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    first_seen: datetime | None = None

    @property
    def seen_since(self) -> datetime:
        """Since when the token is surely known to us."""
        return self.settled_at if self.first_seen is None else self.first_seen

    @property
    def advice(self) -> Advice | None:
        """What to tell the buyer; None for a resolved token."""
        return ADVICE[self.status]


class LetterReason(StrEnum):
    """Why a message was given up; the `reason` label of `resolution_dead_letters`."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    DEAD = "dead"
    MALFORMED = "malformed"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that was given up, kept for reprocessing.

    Attributes:
        token_sha256: None where the token could not be read.
        body_sha256: SHA-256 of the whole body, sealed or not.
        redeemable_until: When the token's lifetime ends; None where it can't be redeemed at all.
        sealed: The message, sealed to the public key (see `messages.envelope`).
        seal_key_id: Which public key it is sealed to.
        body_bytes: The body's whole length; more than was sealed if it was cut.
    """

    seller: str
    reason: LetterReason
    error_code: str
    error_message: str
    token_sha256: bytes | None
    body_sha256: bytes
    message_id: str
    correlation_id: str | None
    lane: str
    metadata: bytes | None = field(repr=False)
    attempts: int
    received_at: datetime
    failed_at: datetime
    redeemable_until: datetime | None
    sealed: bytes = field(repr=False)
    seal_key_id: str
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What is committed in one transaction."""

    outcomes: tuple[Outcome, ...] = ()
    letters: tuple[DeadLetter, ...] = ()
    malformed: tuple[Malformed, ...] = ()
