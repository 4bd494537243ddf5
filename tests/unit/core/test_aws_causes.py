"""What to do about each fault that stops all calls, in words."""

from __future__ import annotations

import pytest

from worker.core import aws_causes
from worker.core.aws_causes.service import SERVICE
from worker.core.records import FaultKind


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        ("AccessDeniedException", "not authorized", "`aws-marketplace:ResolveCustomer`"),
        ("AccessDenied", "AssumeRole was refused: no", "sts:AssumeRole"),
        ("ExpiredTokenException", "The security token has expired", "they have expired"),
        ("ExpiredToken", "AssumeRole was refused: expired", "they have expired"),
        ("DisabledApiException", "", "WORKER_AWS__REGION"),
        ("InvalidSignatureException", "Signature expired: …", "clock"),
        ("WrongAccount", "the credentials belong to …", "WORKER_AWS__EXPECTED_ACCOUNT"),
        ("NoCredentialsError", "Unable to locate credentials", "AWS_ACCESS_KEY_ID"),
        ("ProfileNotFound", "", "AWS_PROFILE"),
        ("MetadataRetrievalError", "", "metadata service"),
        (
            "CredentialRetrievalError",
            "Could not connect to the endpoint URL",
            "reachable from here",
        ),
        ("AccessDenied", "AssumeRole was refused: no", "WORKER_AWS__EXTERNAL_ID"),
        ("AccessDenied", "AssumeRoleWithWebIdentity was refused: no", "identity provider"),
        ("SomethingNew", "", "a fault of AWS"),
        ("SomethingNewError", "", "standard AWS chain"),
        ("CredentialsTimeout", "no credentials within 5 s", "STS"),
        ("CertificateNotTrusted", "", "AWS_CA_BUNDLE"),
        (
            "AwsUnavailable",
            "nearly all recent calls failed; the last: Timeout",
            "health dashboard",
        ),
        ("ServiceUnavailable", "", "a fault of AWS"),
    ],
)
def test_the_remedy_fits_the_fault(code: str, message: str, words: str) -> None:
    """Whatever stops all calls comes with what to do about it, wherever a worker met it."""
    assert words in aws_causes.of_systemic(code, message).remedy


def test_a_fault_of_a_token_says_what_the_token_is_settled_as() -> None:
    """Without a status in its row a token would be settled as rejected, whatever AWS said."""
    assert all((cause.status is not None) == (cause.kind is FaultKind.TOKEN) for cause in SERVICE)


def test_codes_are_in_one_row_that_asks_for_no_words() -> None:
    """Each code has its kind from one row; rows that ask for words only add to such codes."""
    plain = [code for cause in SERVICE if not cause.words for code in cause.codes]
    assert len(plain) == len(set(plain))
    assert {code for cause in SERVICE if cause.words for code in cause.codes} <= set(plain)
