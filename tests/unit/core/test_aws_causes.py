"""What to do about each fault that stops all calls, in words."""

from __future__ import annotations

import pytest

from worker.core import aws_causes


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
        ("MetadataRetrievalError", "", "standard AWS chain"),
        ("CredentialsTimeout", "no credentials within 5 s", "STS"),
        ("CertificateNotTrusted", "", "AWS_CA_BUNDLE"),
        (
            "AwsUnavailable",
            "nearly all calls of late failed; the last: Timeout",
            "health dashboard",
        ),
        ("ServiceUnavailable", "", "a fault of AWS"),
    ],
)
def test_the_remedy_fits_the_fault(code: str, message: str, words: str) -> None:
    """Whatever stops all calls comes with what to do about it, wherever a worker met it."""
    assert words in aws_causes.of_systemic(code, message).remedy
