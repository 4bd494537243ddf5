"""The schemas in `docs/schemas`: up to date, and as strict as what reads and writes messages."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness import contract, schemas
from tests.fakes.records import NOW, incoming, outcome, submission
from worker.core.records import Status, Submission
from worker.core.token.malformed import MAX_METADATA_BYTES
from worker.core.token.replies import malformed_body, outcome_body
from worker.core.token.submissions import MAX_OFFER_TYPE_CHARS, MOST_SOURCE_CHARS, Ignored, parse
from worker.core.token.token_rules import INVISIBLE, MAX_TOKEN_CHARS, QUOTATION_MARKS
from worker.core.token.wire import SubmissionBody

BEYOND_SCHEMAS = (
    "MetadataTooLarge",
    "BodyTooLarge",
    "MetadataContainsToken",
    "OfferTypeContainsToken",
)
"""What the worker finds wrong, and no JSON Schema can say."""

PIECES = [
    *("ok-1", "a", "+", "/", "=", "%", "%2", "%2B", "%zz", "-", ".", "é", "\U0001f511"),
    *(" ", "\t", "\n", "\r", "\u00a0", "\u2003", "\u2028", "\x00", "\x1f", "\x7f", "\x85"),
    *INVISIBLE.pattern.strip("[]").replace("-", ""),
    *QUOTATION_MARKS,
    *("token=", "Token:", "TOKEN", "registration_token=", 'Registration Token"=', "registration"),
    *("x-amzn-marketplace-", "X-Amzn-Marketplace-Token=", "x-amzn-"),
]
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.text(max_size=4)
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=4), SCALARS)
TOKENS = (
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from([MAX_TOKEN_CHARS, MAX_TOKEN_CHARS + 1]).map("t".ljust)
    | JSON
)
INSTANTS = st.datetimes(max_value=NOW.replace(tzinfo=None), timezones=st.just(UTC)).map(
    lambda instant: instant.isoformat()
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from([1, 1.0, "1", 2, True, None]),
        "registration_token": TOKENS,
        "received_at": INSTANTS | JSON,
        "offer_type": st.sampled_from(["free-trial", "a\tb", "o" * MAX_OFFER_TYPE_CHARS]) | JSON,
        "seller": st.sampled_from(["default", "other"]) | JSON,
        "source": st.sampled_from(["s" * MOST_SOURCE_CHARS, "s" * (MOST_SOURCE_CHARS + 1)]) | JSON,
        "metadata": JSON,
        "unknown": JSON,
    },
)


@pytest.mark.parametrize("name", ["submission", "outcome", "state"])
def test_the_schemas_are_up_to_date(name: str) -> None:
    """`docs/schemas` holds what the types say; `make schemas` writes it."""
    assert schemas.path(name).read_text(encoding="utf-8") == schemas.text(name)


@given(BODIES)
@example({"registration_token": "t" * MAX_TOKEN_CHARS})
@example({"registration_token": "\U0001f511" * MAX_TOKEN_CHARS})
@example({"registration_token": "t" * (MAX_TOKEN_CHARS + 1)})
@example({"registration_token": "t", "offer_type": "o" * (MAX_OFFER_TYPE_CHARS + 1)})
@example({"registration_token": "t", "metadata": {"m": "m" * MAX_METADATA_BYTES}})
def test_the_schema_takes_what_the_worker_reads(content: dict[str, Any]) -> None:
    """What the schema takes is no malformed message, and nothing in it is ignored; and vice versa.

    Two things the worker reads and the schema does not recommend: a byte order mark before the
    token, which is dropped, and times that are not written as RFC 3339 wants it.
    """
    parsed, ignored = parse(incoming(json.dumps(content).encode()), NOW)
    faults = contract.faults("submission", content)
    sound = isinstance(parsed, Submission) and not any(
        (ignored.source_ignored, ignored.received_at_ignored)
    )
    if not isinstance(parsed, Submission) and parsed.code in BEYOND_SCHEMAS:
        return
    if str(content.get("registration_token")).startswith("\ufeff"):
        assert faults
    elif sound and content.get("received_at") is not None:
        assert not [fault for fault in faults if not fault.startswith("received_at:")]
    elif ignored.received_at_ignored and not faults:
        assert isinstance(content["received_at"], str)  # before the epoch, or in the future
    else:
        assert sound == (not faults), faults


def test_each_member_of_the_schema_is_read() -> None:
    """The type names only members that the worker's reader looks at."""
    for name in SubmissionBody.__struct_fields__:
        content = {"registration_token": "ok-1"} | {name: 7}
        parsed, ignored = parse(incoming(json.dumps(content).encode()), NOW)
        assert not isinstance(parsed, Submission) or ignored != Ignored(), name


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    status=st.sampled_from([each for each in Status if each is not Status.MALFORMED]),
    account=st.none() | TEXTS,
    members=st.fixed_dictionaries(
        dict.fromkeys(("license_arn", "agreement_id"), st.none() | TEXTS)
    ),
    offer_type=st.none() | TEXTS,
    metadata=st.none() | st.dictionaries(TEXTS, JSON),
    repeated=st.booleans(),
)
def test_every_outcome_keeps_its_schema(
    status: Status,
    account: str | None,
    members: dict[str, Any],
    offer_type: str | None,
    metadata: dict[str, Any] | None,
    *,
    repeated: bool,
) -> None:
    """Whatever AWS and the submission say, the answer is as the schema has it."""
    asked = submission(metadata=None if metadata is None else json.dumps(metadata).encode())
    if status is Status.RESOLVED:
        identifier = "cust" if account is None else None
        said = members | {"product_code": "p", "customer_identifier": identifier}
        said["customer_aws_account_id"] = account
    else:
        said = {"error_code": "SomeCode", "error_message": account}
    settled = outcome(status, asked, offer_type=offer_type, **said)
    written = json.loads(outcome_body(settled, asked, repeated=repeated))
    assert contract.faults("outcome", written) == []


@given(BODIES.map(lambda content: json.dumps(content).encode()) | st.binary(max_size=40))
def test_every_malformed_answer_keeps_its_schema(content: bytes) -> None:
    """Whatever can't be read, the answer that says so is as the schema has it."""
    parsed, _ = parse(incoming(content), NOW)
    if not isinstance(parsed, Submission):
        assert contract.faults("outcome", json.loads(malformed_body(parsed, NOW))) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"status": "resolved"}, "error:"),
        ({"advice": None}, "advice:"),
        ({"product_code": "p"}, "product_code:"),
        ({"token_sha256": "ABC"}, "token_sha256:"),
        ({"settled_at": "2026-11-22T12:00:00+01:00"}, "settled_at:"),
    ],
)
def test_the_schema_of_outcomes_refuses(change: dict[str, Any], named: str) -> None:
    """An outcome that contradicts its status, or is written otherwise, breaks the schema."""
    settled = outcome(Status.DEAD, error_code="Timeout")
    written = json.loads(outcome_body(settled, submission(), repeated=False)) | change
    assert any(fault.startswith(named) for fault in contract.faults("outcome", written))
