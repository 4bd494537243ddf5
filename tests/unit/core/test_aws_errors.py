"""AWS's answers classified: whose fault a failed call is, and what a success says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.core import aws_errors
from worker.core.aws_errors import ServiceError, classify, read_answer
from worker.core.records import Answer, Fault, FaultKind, Status

# From AWS's and botocore's documents, not from the table that is tested.
THROTTLED = [
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
]
SYSTEMIC = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "DisabledApiException",
    "ExpiredToken",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidAction",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "SubscriptionRequiredException",
    "UnauthorizedException",
    "UnknownOperationException",
    "UnrecognizedClientException",
]
NOT_IN_THE_TABLE = [
    "InternalServiceErrorException",
    "ServiceUnavailable",
    "InternalFailure",
    "Http500",
]


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, FaultKind.THROTTLED) for code in THROTTLED),
        *((code, FaultKind.SYSTEMIC) for code in SYSTEMIC),
    ],
)
def test_a_known_code_decides_whatever_the_status(code: str, kind: FaultKind, status: int) -> None:
    """Codes of throttling and of faults of ours are told by their name, not by their status."""
    assert classify(ServiceError(status, code, "words")) == Fault(kind, code, "words")


@pytest.mark.parametrize("code", NOT_IN_THE_TABLE)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FaultKind.TRANSIENT),
        (401, FaultKind.SYSTEMIC),
        (403, FaultKind.SYSTEMIC),
        (404, FaultKind.TRANSIENT),
        (429, FaultKind.THROTTLED),
        (500, FaultKind.TRANSIENT),
        (503, FaultKind.TRANSIENT),
        (0, FaultKind.TRANSIENT),
        (302, FaultKind.TRANSIENT),
    ],
)
def test_an_unknown_code_is_told_by_its_status(code: str, status: int, kind: FaultKind) -> None:
    """Of a code that is not known the status decides; whatever is left is taken for passing."""
    assert classify(ServiceError(status, code, "words")).kind is kind


@pytest.mark.parametrize("status", [400, 500])
def test_an_invalid_token_is_rejected(status: int) -> None:
    """InvalidTokenException is the token's own fault."""
    found = classify(ServiceError(status, "InvalidTokenException", "no such token"))
    assert found == Fault(
        FaultKind.TOKEN, "InvalidTokenException", "no such token", Status.REJECTED
    )


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "The submitted registration token has expired.", FaultKind.TOKEN),
        (400, "", FaultKind.TOKEN),
        (500, "Token expired", FaultKind.TOKEN),
        (403, "The submitted registration token has expired.", FaultKind.SYSTEMIC),
        (403, "", FaultKind.SYSTEMIC),
        (400, "The security token included in the request is expired", FaultKind.SYSTEMIC),
        (400, "the SECURITY TOKEN is expired", FaultKind.SYSTEMIC),
    ],
)
def test_expired_has_two_meanings(status: int, message: str, kind: FaultKind) -> None:
    """Expired is ours with status 403 or of the security token, and else the buyer's token's."""
    found = classify(ServiceError(status, "ExpiredTokenException", message))
    assert found.kind is kind
    assert found.status is (Status.EXPIRED if kind is FaultKind.TOKEN else None)
    assert (found.code, found.message) == ("ExpiredTokenException", message)


@given(st.integers(), st.text(), st.text())
def test_every_error_has_a_kind(status: int, code: str, message: str) -> None:
    """No error is left unclassified, and only the token's own settles it."""
    found = classify(ServiceError(status, code, message))
    assert (found.status is None) is (found.kind is not FaultKind.TOKEN)


def test_faults_without_an_error_of_aws() -> None:
    """What never got an answer, or one of no use, passes; what is ours without a call does not."""
    assert aws_errors.timeout(5.0) == Fault(FaultKind.TRANSIENT, "Timeout", "no answer within 5 s")
    assert aws_errors.timeout(0.25).message == "no answer within 0.25 s"
    assert aws_errors.connection_fault("refused").kind is FaultKind.TRANSIENT
    assert aws_errors.connection_fault("refused").code == "ConnectionFault"
    assert aws_errors.unusable("empty").kind is FaultKind.TRANSIENT
    assert aws_errors.unusable("empty").code == "UnusableAnswer"
    assert aws_errors.systemic("NoCredentials", "none") == Fault(
        FaultKind.SYSTEMIC, "NoCredentials", "none", sent=False
    )
    assert aws_errors.unforeseen("KeyError").kind is FaultKind.TRANSIENT


FULL = {
    "ProductCode": "p",
    "CustomerAWSAccountId": "012345678901",
    "CustomerIdentifier": "c",
    "LicenseArn": "arn:l",
    "Metadata": {"AgreementId": "a"},
}


def test_a_full_reply_is_read_whole() -> None:
    """Every member of a reply arrives as text, leading zeros and all."""
    assert read_answer(FULL) == Answer("p", "012345678901", "c", "arn:l", "a")


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"CustomerIdentifier": None}, Answer("p", "012345678901", None, "arn:l", "a")),
        ({"CustomerIdentifier": ""}, Answer("p", "012345678901", None, "arn:l", "a")),
        ({"CustomerAWSAccountId": None}, Answer("p", None, "c", "arn:l", "a")),
        ({"CustomerAWSAccountId": 12345678901}, Answer("p", None, "c", "arn:l", "a")),
        ({"LicenseArn": None}, Answer("p", "012345678901", "c", None, "a")),
        ({"LicenseArn": "a\x00b"}, Answer("p", "012345678901", "c", None, "a")),
        ({"Metadata": None}, Answer("p", "012345678901", "c", "arn:l", None)),
        ({"Metadata": {}}, Answer("p", "012345678901", "c", "arn:l", None)),
        ({"Metadata": "x"}, Answer("p", "012345678901", "c", "arn:l", None)),
        ({"Metadata": {"AgreementId": 7}}, Answer("p", "012345678901", "c", "arn:l", None)),
        ({"Unknown": [1]}, Answer("p", "012345678901", "c", "arn:l", "a")),
    ],
)
def test_what_a_reply_leaves_out_is_none(changes: dict[str, Any], answer: Answer) -> None:
    """Absent, empty, ill-typed members and such with a NUL say nothing; the rest still counts."""
    assert read_answer(FULL | changes) == answer


@pytest.mark.parametrize(
    "reply",
    [
        {},
        FULL | {"ProductCode": None},
        FULL | {"ProductCode": ""},
        FULL | {"ProductCode": 1},
        FULL | {"CustomerAWSAccountId": None, "CustomerIdentifier": None},
        FULL | {"CustomerAWSAccountId": "", "CustomerIdentifier": "\x00"},
        None,
        [],
        "text",
        1,
    ],
)
def test_a_reply_of_no_use_is_passing(reply: object) -> None:
    """Without a product, or without both account and identifier, a success is tried again."""
    found = read_answer(reply)
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultKind.TRANSIENT, "UnusableAnswer")


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*FULL, "x"]), inner),
    )
)
def test_whatever_aws_replies_is_read_or_of_no_use(reply: object) -> None:
    """No reply raises, and an answer always names a product and somebody who bought it."""
    found = read_answer(reply)
    if isinstance(found, Answer):
        assert found.product_code
        assert found.customer_aws_account_id or found.customer_identifier
