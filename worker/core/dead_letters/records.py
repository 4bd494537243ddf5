"""What is kept of a message that was given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core.records import (
    DEFAULT_SELLER,
    DeadLetter,
    LetterReason,
    Malformed,
    Outcome,
    Status,
    Submission,
)
from worker.core.token.refused_rows import UNSTORABLE
from worker.core.token.verdict import AWS_LIFETIME

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.token.incoming import Incoming


@dataclass(frozen=True, slots=True)
class Sealed:
    """A message's envelope, sealed, and to which public key."""

    key_id: str
    box: bytes


def of_outcome(
    outcome: Outcome, submission: Submission, incoming: Incoming, lane: str, sealed: Sealed
) -> DeadLetter:
    """Return the dead letter of a token that was rejected, has expired or is dead."""
    expired = outcome.status is Status.EXPIRED
    return DeadLetter(
        seller=submission.seller,
        reason=LetterReason(outcome.status.value),
        error_code=outcome.error_code or "",
        error_message=outcome.error_message or "",
        token_sha256=submission.token.sha256,
        body_sha256=incoming.body_sha256,
        message_id=submission.message_id,
        correlation_id=submission.correlation_id,
        lane=lane,
        metadata=submission.metadata,
        attempts=outcome.attempts,
        received_at=submission.received_at,
        failed_at=outcome.settled_at,
        redeemable_until=None if expired else submission.first_seen + AWS_LIFETIME,
        sealed=sealed.box,
        seal_key_id=sealed.key_id,
        body_bytes=incoming.body_bytes,
    )


def of_malformed(
    malformed: Malformed, incoming: Incoming, lane: str, sealed: Sealed, now: datetime
) -> DeadLetter:
    """Return the dead letter of a message that can't be read: it can't be redeemed as it is."""
    return DeadLetter(
        seller=DEFAULT_SELLER,
        reason=LetterReason.MALFORMED,
        error_code=malformed.code,
        error_message=malformed.reason,
        token_sha256=malformed.token_sha256,
        body_sha256=malformed.body_sha256,
        message_id=malformed.message_id,
        correlation_id=malformed.correlation_id,
        lane=lane,
        metadata=malformed.metadata,
        attempts=0,
        received_at=malformed.received_at,
        failed_at=now,
        redeemable_until=None,
        sealed=sealed.box,
        seal_key_id=sealed.key_id,
        body_bytes=incoming.body_bytes,
    )


PARKED_CODES: Final = {
    "delivery_limit": "DeliveryLimit",
    "expired": "ExpiredInQueue",
    "maxlen": "QueueOverflow",
    "rejected": "RejectedInQueue",
}
"""Of a parked message, by the broker's own word for its reason."""
UNEXPLAINED: Final = "ParkedUnexplained"
_PARKED_MESSAGES: Final = {
    "delivery_limit": "the broker delivered it too often without an ack and parked it",
    "expired": "it expired in a queue that is not one of our lanes",
    "maxlen": "a queue that is not one of our lanes had no room for it",
    "rejected": "somebody rejected it in its queue, which no worker does",
}
_UNEXPLAINED_MESSAGE: Final = "it was parked, and the broker's reason can't be read"


def of_parked(
    incoming: Incoming, sealed: Sealed, now: datetime, refusal: str | None = None
) -> DeadLetter:
    """Return the dead letter of a parked message, which no worker has read.

    Either the broker itself gave it up, or a worker parked it since the database refused its row.
    Its ids, times and body are not trusted: all are sealed, none is written in clear.
    """
    body_sha256 = incoming.body_sha256
    reason = incoming.death.reason if incoming.death else ""
    return DeadLetter(
        seller=DEFAULT_SELLER,
        reason=LetterReason.PARKED,
        error_code=UNSTORABLE if refusal else PARKED_CODES.get(reason, UNEXPLAINED),
        error_message=refusal or _PARKED_MESSAGES.get(reason, _UNEXPLAINED_MESSAGE),
        token_sha256=None,
        body_sha256=body_sha256,
        message_id=f"parked-{body_sha256.hex()[:32]}",
        correlation_id=None,
        lane="parked",
        metadata=None,
        attempts=0,
        received_at=now,
        failed_at=now,
        redeemable_until=now + AWS_LIFETIME,
        sealed=sealed.box,
        seal_key_id=sealed.key_id,
        body_bytes=incoming.body_bytes,
    )
