"""Answers are read from what the worker writes, and from nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolution_client import answers
from resolution_client.answers import Failed, Rejected, Resolved
from tests.fakes.records import NOW, incoming, outcome, submission
from worker.core.records import Malformed, Status, Token
from worker.core.support_code import support_code
from worker.core.token.replies import malformed_body, outcome_body
from worker.core.token.submissions import parse

TOKEN = Token.of("ok-1")
BODY: dict[str, Any] = {
    "version": 1,
    "message_id": "m",
    "status": "resolved",
    "repeated": False,
    "token_sha256": TOKEN.sha256.hex(),
    "product_code": "prod",
    "customer_aws_account_id": "012345678901",
    "customer_identifier": None,
    "license_arn": "arn:l",
    "agreement_id": None,
    "offer_type": None,
    "error": None,
    "advice": None,
    "metadata": {},
    "received_at": "2026-11-22T03:28:00Z",
    "settled_at": "2026-11-22T03:28:00.123Z",
}


def body(**members: Any) -> bytes:
    """A reply with other members."""
    return json.dumps({**BODY, **members}).encode()


def test_a_resolved_one() -> None:
    """All members are read, and the licence is the key."""
    answer = answers.read(body(metadata={"a": 1}))
    assert isinstance(answer, Resolved)
    assert answer.customer_aws_account_id == "012345678901"
    assert answer.agreement_key == "arn:l"
    assert answer.received_at == datetime(2026, 11, 22, 3, 28, tzinfo=UTC)
    assert answer.metadata == {"a": 1}
    assert answer.support_code == support_code(TOKEN.sha256)


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ({"license_arn": None}, "default/prod/012345678901"),
        ({"license_arn": ""}, "default/prod/012345678901"),
        (
            {"license_arn": None, "customer_aws_account_id": None, "customer_identifier": "a/b c"},
            "default/prod/a%2Fb%20c",
        ),
    ],
)
def test_the_key_where_there_is_no_licence(members: dict[str, Any], key: str) -> None:
    """Seller, product and customer are the key then, each without a slash."""
    answer = answers.read(body(**members))
    assert isinstance(answer, Resolved)
    assert answer.agreement_key == key


@pytest.mark.parametrize(
    ("status", "kind"),
    [("rejected", Rejected), ("expired", Rejected), ("dead", Failed), ("malformed", Failed)],
)
def test_those_that_are_not_resolved(status: str, kind: type) -> None:
    """Each carries its status and the code of its error."""
    answer = answers.read(body(status=status, error={"code": "C", "message": None}))
    assert isinstance(answer, kind)
    assert isinstance(answer, (Rejected, Failed))
    assert (answer.status, answer.error_code) == (status, "C")


@pytest.mark.parametrize("status", [Status.RESOLVED, Status.REJECTED, Status.EXPIRED, Status.DEAD])
def test_what_the_worker_writes_is_read(status: Status) -> None:
    """The bytes of the worker's own replies, of each status, are understood."""
    asked = submission()
    code = None if status is Status.RESOLVED else "Code"
    settled = outcome(status, asked, error_code=code)
    answer = answers.read(outcome_body(settled, asked, repeated=True))
    assert answer.message_id == asked.message_id
    assert answer.repeated


def test_an_answer_to_what_cannot_be_read() -> None:
    """Where the worker could read no token, the answer has no fingerprint, but a support code."""
    parsed, _ = parse(incoming(b"{", message_id="m-9"), NOW)
    assert isinstance(parsed, Malformed)
    answer = answers.read(malformed_body(parsed, NOW))
    assert isinstance(answer, Failed)
    assert answer.token_sha256 is None
    assert answer.support_code


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_anything_else_is_unreadable(anything: bytes | str) -> None:
    """No body, whoever wrote it, raises anything but `Unreadable`."""
    text = anything if isinstance(anything, bytes) else anything.encode()
    with pytest.raises(answers.Unreadable):
        answers.read(text)


@pytest.mark.parametrize("member", [name for name in BODY if name != "advice"])
@pytest.mark.parametrize("value", [None, 5, [], {}, "x"])
def test_odd_members_raise_nothing_else(member: str, value: Any) -> None:
    """A member of another type is read or refused, and never raises anything else."""
    for status in ("resolved", "rejected"):
        with suppress(answers.Unreadable):
            read = answers.read(body(**{"status": status, member: value}))
            assert isinstance(read.metadata, dict)
            assert isinstance(read.message_id, str)
