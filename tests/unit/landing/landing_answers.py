"""Answers of a worker, made up."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from resolution_client import Failed, Pending, Rejected, Resolved

EPOCH = datetime(2026, 11, 22, tzinfo=UTC)


def common(message_id: str, text: str, *, repeated: bool, second: int) -> dict[str, Any]:
    """What all outcomes have."""
    return {
        "message_id": message_id,
        "token_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "repeated": repeated,
        "metadata": {},
        "received_at": EPOCH,
        "settled_at": EPOCH + timedelta(seconds=second),
    }


def resolved(
    message_id: str, text: str = "t", *, repeated: bool = False, second: int = 0, key: str = "arn"
) -> Resolved:
    """AWS named the buyer."""
    return Resolved(
        **common(message_id, text, repeated=repeated, second=second),
        product_code="prod-1",
        customer_aws_account_id="012345678901",
        customer_identifier=None,
        license_arn=key,
        agreement_id="agmt-1",
        offer_type=None,
    )


def failed(message_id: str, text: str = "t", *, second: int = 0) -> Failed:
    """AWS failed until the attempts were used up."""
    return Failed(
        **common(message_id, text, repeated=False, second=second),
        status="dead",
        error_code="InternalServiceErrorException",
    )


def malformed(message_id: str, text: str = "t", *, second: int = 0) -> Failed:
    """A form with an odd field beside a token: nothing was published."""
    return Failed(
        **common(message_id, text, repeated=False, second=second),
        status="malformed",
        error_code="OfferTypeUnfit",
    )


def rejected(message_id: str, text: str = "t", *, second: int = 0) -> Rejected:
    """AWS does not take the token."""
    return Rejected(
        **common(message_id, text, repeated=False, second=second),
        status="expired",
        error_code="ExpiredTokenException",
    )


def pending(message_id: str, text: str = "t") -> Pending:
    """Nothing yet."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Pending(message_id=message_id, token_sha256=digest, reason="waiting")
