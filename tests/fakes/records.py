"""Records with everything filled in, of which a test names only what it is about."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from worker.core.records import Answer, Fault, FaultKind, Outcome, Status, Submission, Token
from worker.core.token.incoming import Incoming
from worker.core.token.submissions import parse
from worker.core.token.verdict import Policy

NOW: Final = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
BUYER: Final = "ok-token-of-a-buyer"
POLICY: Final = Policy(attempts=6, delays=("5s", "30s", "2m"))
ANSWER: Final = Answer(
    product_code="prod",
    customer_aws_account_id="012345678901",
    customer_identifier="cust",
    license_arn="arn:aws:license-manager::294406891311:license:l-1",
    agreement_id="agmt-1",
)


def ago(**time: float) -> datetime:
    """An instant so long before `NOW`."""
    return NOW - timedelta(**time)


def submission(token: str = BUYER, **members: Any) -> Submission:
    """A submission received a second before `NOW`."""
    given = {
        "seller": "default",
        "message_id": "m-1",
        "correlation_id": "c-1",
        "reply_to": "resolution.reply.web-1",
        "offer_type": None,
        "progress": False,
        "metadata": b'{"session": "s"}',
        "received_at": ago(seconds=1),
        **members,
    }
    given.setdefault("first_seen", given["received_at"])
    return Submission(token=Token.of(token), **given)


def outcome(
    status: Status = Status.RESOLVED, asked: Submission | None = None, **members: Any
) -> Outcome:
    """An outcome settled at `NOW`."""
    asked = asked or submission()
    given = {
        "key": asked.key,
        "message_id": asked.message_id,
        "attempts": 1,
        "received_at": asked.received_at,
        "settled_at": NOW,
        "first_seen": asked.first_seen,
        **members,
    }
    return Outcome(status=status, **given)


def fault(kind: FaultKind, code: str = "SomeCode", message: str = "some words") -> Fault:
    """A fault of a kind."""
    status = Status.REJECTED if kind is FaultKind.TOKEN else None
    return Fault(kind, code, message, status)


def body(token: str = BUYER, **members: Any) -> bytes:
    """A submission as a publisher writes it."""
    return json.dumps({"registration_token": token, **members}).encode()


def incoming(content: bytes | None = None, **properties: Any) -> Incoming:
    """A message as the broker hands it over."""
    return Incoming(body() if content is None else content, **properties)


def read(message: Incoming, now: datetime = NOW) -> Submission:
    """What a sound message says."""
    parsed, _ = parse(message, now)
    assert isinstance(parsed, Submission), parsed
    return parsed
