"""Answers as the web tier reads them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.fakes.records import ANSWER, NOW, POLICY, ago, body, incoming, outcome, submission
from worker.core.records import Malformed, Status
from worker.core.token.replies import is_repeat, malformed_body, outcome_body
from worker.core.token.submissions import parse
from worker.core.token.verdict import Store, Tries, after_call

MEMBERS = [
    "version",
    "message_id",
    "status",
    "repeated",
    "token_sha256",
    "product_code",
    "customer_aws_account_id",
    "customer_identifier",
    "license_arn",
    "agreement_id",
    "offer_type",
    "error",
    "advice",
    "metadata",
    "received_at",
    "settled_at",
]


def malformed() -> Malformed:
    """A message without a usable token."""
    message = incoming(body("a b", metadata={"a": 1}), message_id="m-9")
    parsed, _ = parse(message, NOW)
    assert isinstance(parsed, Malformed)
    return parsed


def test_a_resolved_answer_says_all() -> None:
    """A resolved outcome is answered with every member, in the order that is documented."""
    asked = submission("ok-1", offer_type="free-trial", metadata=b'{"session": "s"}')
    settled = after_call(asked, ANSWER, Tries(attempts=1), now=NOW, draw=0.5, policy=POLICY)
    assert isinstance(settled, Store)
    assert outcome_body(settled.outcome, asked, repeated=False).decode() == (
        '{"version":1,"message_id":"m-1","status":"resolved","repeated":false,'
        f'"token_sha256":"{hashlib.sha256(b"ok-1").hexdigest()}",'
        '"product_code":"prod","customer_aws_account_id":"012345678901",'
        '"customer_identifier":"cust",'
        '"license_arn":"arn:aws:license-manager::294406891311:license:l-1",'
        '"agreement_id":"agmt-1","offer_type":"free-trial","error":null,"advice":null,'
        '"metadata":{"session": "s"},"received_at":"2026-11-22T11:59:59.250Z",'
        '"settled_at":"2026-11-22T12:00:00.250Z"}'
    )


@pytest.mark.parametrize("status", list(Status))
def test_every_answer_has_the_same_members(status: Status) -> None:
    """Whatever the status, no member is missing, none is new, and the order is the same."""
    said = (
        malformed_body(malformed(), NOW)
        if status is Status.MALFORMED
        else outcome_body(outcome(status), submission(), repeated=True)
    )
    assert list(json.loads(said)) == MEMBERS


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (Status.RESOLVED, None),
        (Status.REJECTED, "restart_from_marketplace"),
        (Status.EXPIRED, "restart_from_marketplace"),
        (Status.DEAD, "contact_seller"),
    ],
)
def test_advice_follows_the_status(status: Status, advice: str | None) -> None:
    """Each status carries the advice that the web tier gives the buyer."""
    settled = outcome(status, error_code=None if status is Status.RESOLVED else "C")
    said = json.loads(outcome_body(settled, submission(), repeated=False))
    assert (said["status"], said["advice"]) == (status.value, advice)
    assert settled.advice == advice


def test_an_error_is_a_code_and_words() -> None:
    """A failed outcome names AWS's code and its words; a code without words has none."""
    settled = outcome(Status.DEAD, error_code="Timeout", error_message="no answer")
    said = json.loads(outcome_body(settled, submission(), repeated=False))
    assert said["error"] == {"code": "Timeout", "message": "no answer"}
    bare = json.loads(
        outcome_body(outcome(Status.DEAD, error_code="X"), submission(), repeated=False)
    )
    assert bare["error"] == {"code": "X", "message": None}


def test_an_answer_is_the_askers_own() -> None:
    """Message id, metadata and times asked are the submission's, not the ledger's."""
    first = submission(message_id="first", metadata=b'{"a":1}', received_at=ago(minutes=5))
    second = submission(message_id="second", metadata=None, received_at=ago(minutes=1))
    said = json.loads(outcome_body(outcome(asked=first), second, repeated=True))
    assert (said["message_id"], said["metadata"], said["repeated"]) == ("second", {}, True)
    assert said["received_at"] == "2026-11-22T11:59:00.250Z"


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.MALFORMED])
@pytest.mark.parametrize(
    ("message_id", "known_as", "called_for", "repeated"),
    [
        ("first", "first", True, False),
        ("first", "first", False, False),  # its own, sent or delivered again
        ("second", "first", False, True),
        ("second", "first", True, False),  # tried afresh; the row keeps the first one's id
        ("derived-1", "derived-1", True, False),
        ("derived-1", "derived-1", False, True),  # a stranger's may have the same
    ],
)
def test_a_submission_is_no_repeat_of_itself(
    status: Status, message_id: str, known_as: str, *, called_for: bool, repeated: bool
) -> None:
    """Whatever the status, only another's answer is repeated; ids of ours show no sender."""
    told = outcome(status, message_id=known_as)
    assert is_repeat(submission(message_id=message_id), told, called_for=called_for) is repeated


def test_a_malformed_answer_says_why() -> None:
    """A malformed message is answered with the code of what is wrong, and with its metadata."""
    said = json.loads(malformed_body(malformed(), NOW))
    assert (said["status"], said["repeated"], said["message_id"]) == ("malformed", False, "m-9")
    assert said["error"]["code"] == "TokenHasWhiteSpace"
    assert said["advice"] == "contact_seller"
    assert said["metadata"] == {"a": 1}
    assert said["token_sha256"] == malformed().token_sha256.hex()  # type: ignore[union-attr]
    assert said["settled_at"] == "2026-11-22T12:00:00.250Z"


def test_a_malformed_answer_without_a_token_has_no_fingerprint() -> None:
    """Where no token can be read the answer has null for its fingerprint."""
    parsed, _ = parse(incoming(b"{}"), NOW)
    assert isinstance(parsed, Malformed)
    assert json.loads(malformed_body(parsed, NOW))["token_sha256"] is None


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 11, 22, 3, 28, 0, 999_999, tzinfo=UTC),
        datetime(2026, 11, 22, 4, 28, 0, 999_999, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_instants_are_utc_in_milliseconds(instant: datetime) -> None:
    """Instants are written as RFC 3339 in UTC with exactly three digits, cut and not rounded."""
    said = json.loads(outcome_body(outcome(settled_at=instant), submission(), repeated=False))
    assert said["settled_at"] == "2026-11-22T03:28:00.999Z"
