"""An outcome as the web tier reads it: the same bytes as reply and as event."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from worker.core import aws_causes
from worker.core.records import ADVICE, Malformed, Outcome, Status, Submission
from worker.core.timestamps import format_time
from worker.core.token.incoming import is_derived
from worker.core.token.submissions import VERSION
from worker.core.token.wire import ErrorBody, OutcomeBody

if TYPE_CHECKING:
    from datetime import datetime, timedelta

_ENCODER: Final = msgspec.json.Encoder()


def is_repeat(submission: Submission, outcome: Outcome, *, called_for: bool) -> bool:
    """Whether a submission is told what another one was told before it.

    A web tier that hears no answer sends its submission again, under the same message id. That is
    no repeat of itself, whether the ledger answers it or it shares the call that is under way. A
    message without an id of its own can't be told from a stranger's, so it is one.

    Args:
        submission: Who is answered.
        outcome: What it is told, as the ledger has it.
        called_for: The outcome is of a call that was made for this very message, or it was settled
            without one.
    """
    message_id = submission.message_id
    is_own = message_id == outcome.message_id and not is_derived(message_id)
    return not (called_for or is_own)


class Loss(StrEnum):
    """How a token was lost to us; the `how` label of `resolution_tokens_lost_total`."""

    DEAD = "dead"
    PARKED = "parked"
    OUTLIVED = "outlived"


def loss(
    submission: Submission, outcome: Outcome, lifetime: timedelta, *, repeated: bool
) -> Loss | None:
    """Whether a token failed through no fault of its own, and nobody was told so before.

    One that was settled for its age was lost to us if it has waited that long with us, and not if
    somebody came late to a token that we had seen before.

    Args:
        submission: Who is answered; no replay counts, for what it replays has counted.
        outcome: What it is told.
        lifetime: Of a token, from our own first sight.
        repeated: As `is_repeat` says.
    """
    if repeated or submission.replay is not None:
        return None
    if outcome.status is Status.DEAD:
        return Loss.DEAD
    waited = outcome.settled_at - submission.first_seen >= lifetime
    by_age = outcome.error_code == aws_causes.LIFETIME_EXCEEDED
    return Loss.OUTLIVED if by_age and waited else None


def outcome_body(outcome: Outcome, submission: Submission, *, repeated: bool) -> bytes:
    """The answer to one submission, with its own message id, times and metadata.

    Args:
        outcome: Of its token, as the ledger has it.
        submission: Who asked.
        repeated: As `is_repeat` says.
    """
    body = OutcomeBody(
        version=VERSION,
        message_id=submission.message_id,
        status=outcome.status,
        repeated=repeated,
        token_sha256=outcome.key.sha256.hex(),
        product_code=outcome.product_code,
        customer_aws_account_id=outcome.customer_aws_account_id,
        customer_identifier=outcome.customer_identifier,
        license_arn=outcome.license_arn,
        agreement_id=outcome.agreement_id,
        offer_type=outcome.offer_type,
        error=_error(outcome.error_code, outcome.error_message),
        advice=ADVICE[outcome.status],
        metadata=msgspec.Raw(submission.metadata or b"{}"),
        received_at=format_time(submission.received_at),
        settled_at=format_time(outcome.settled_at),
    )
    return _ENCODER.encode(body)


def malformed_body(malformed: Malformed, settled_at: datetime) -> bytes:
    """The answer to a message that can't be read."""
    token_sha256 = malformed.token_sha256
    body = OutcomeBody(
        version=VERSION,
        message_id=malformed.message_id,
        status=Status.MALFORMED,
        repeated=False,
        token_sha256=None if token_sha256 is None else token_sha256.hex(),
        product_code=None,
        customer_aws_account_id=None,
        customer_identifier=None,
        license_arn=None,
        agreement_id=None,
        offer_type=None,
        error=ErrorBody(malformed.code, malformed.reason),
        advice=ADVICE[Status.MALFORMED],
        metadata=msgspec.Raw(malformed.metadata or b"{}"),
        received_at=format_time(malformed.received_at),
        settled_at=format_time(settled_at),
    )
    return _ENCODER.encode(body)


def _error(code: str | None, message: str | None) -> ErrorBody | None:
    return None if code is None else ErrorBody(code, message)
