"""The service's domain objects: frozen records used in all layers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

DEFAULT_SELLER: Final = "default"


class Lane(StrEnum):
    """The lanes; also routing keys of `resolution.internal` and, but for CROWD, of `resolution`.

    CROWD takes what one source sends beyond its turns; only workers publish to it.
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
        caller: The publisher's broker user; empty if the message names none.
        source: From whom the caller got it; empty if unknown. All of a caller's unknown sources
            count as one.
    """

    caller: str = ""
    source: str = ""


NOBODY: Final = Origin()
"""The origin of a token whose sender is unknown."""


class Status(StrEnum):
    """The outcome of a submission."""

    RESOLVED = "resolved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DEAD = "dead"
    MALFORMED = "malformed"


class Advice(StrEnum):
    """What the web tier should tell a buyer whose token was not resolved."""

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
    """Identifies a token in the ledger; can't be used to redeem it."""

    seller: str
    sha256: bytes

    @property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256: enough to find it in the ledger."""
        return self.sha256[:8].hex()


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A registration token. It is a secret; `repr` and `str` do not show it."""

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
    """One valid message: a token, and where to send its outcome.

    Attributes:
        received_at: When the buyer's browser delivered the token, according to the message.
            Used for order and patience only, because a publisher's clock may be off.
        first_seen: When a worker first saw the token, by the database's clock: its age counts
            from here.
        origin: Who sent it.
        entry_lane: The lane in which the buyer came in, where a worker has moved the message into
            another since; else None.
        attempts: Counted calls already made for it.
        returns: How often it has come back from a retry queue after a counted fault.
        redelivered: The broker may have delivered this very message before.
        replay: When an operator replayed it: it is called for, unless the outcome in the ledger is
            later. None if it was not replayed.
        reply_to: Routing key on `resolution.answers`, already validated, or None.
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
    entry_lane: Lane | None = None

    @property
    def key(self) -> TokenKey:
        """The key of this submission's token in the ledger."""
        return TokenKey(self.seller, self.token.sha256)


@dataclass(frozen=True, slots=True)
class Malformed:
    """One malformed message, with only what is safe to store and publish.

    `message_id`, `correlation_id` and `metadata` do not contain the token: a value that did was
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
    """AWS's answer for a token. Every member is optional in the API's own model."""

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
    """Why a call gave no answer: whose fault it is, AWS's (or our) code, and a message.

    Attributes:
        status: The final status where the kind is TOKEN (`rejected` or `expired`), else None.
        sent: Whether the request was sent, or may have been. A fault without says nothing about
            the token.
    """

    kind: FaultKind
    code: str
    message: str
    status: Status | None = None
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """The ledger's row for one token: a row of the view `resolution.outcomes`.

    Attributes:
        first_seen: When a worker first saw the token, by the database's clock; None in rows of
            earlier releases, which recorded only `settled_at`.
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
        """The earliest time at which the token is certain to have been seen."""
        return self.settled_at if self.first_seen is None else self.first_seen

    @property
    def advice(self) -> Advice | None:
        """What to tell the buyer; None for a resolved token."""
        return ADVICE[self.status]


class LetterReason(StrEnum):
    """Why a message became a dead letter; the `reason` label of `resolution_dead_letters`."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    DEAD = "dead"
    MALFORMED = "malformed"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that could not be resolved, kept for reprocessing.

    Attributes:
        token_sha256: None where the token could not be read.
        body_sha256: SHA-256 of the whole body, sealed or not.
        redeemable_until: When the token's lifetime ends; None where it can't be redeemed at all.
        sealed: The message, encrypted to the public key (see `token.incoming.envelope`).
        seal_key_id: The ID of that public key.
        body_bytes: The body's full length; more than was sealed if the body was cut.
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
    """The rows committed in one transaction.

    Attributes:
        books: Whether customers and agreements of resolved outcomes are written.
        closing: Whether dead letters of resolved outcomes are closed.
    """

    outcomes: tuple[Outcome, ...] = ()
    letters: tuple[DeadLetter, ...] = ()
    malformed: tuple[Malformed, ...] = ()
    books: bool = True
    closing: bool = True
