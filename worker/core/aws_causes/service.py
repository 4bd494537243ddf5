"""Causes that the service reports.

A new error code of AWS goes into the row of its cause, or into a row of its own in `SERVICE`.

Sources: the API reference of ResolveCustomer (its declared errors), "Common Errors" of the AWS
APIs, and the throttling codes that botocore's own retry handlers know.
"""

from __future__ import annotations

from typing import Final

from worker.core.aws_causes.cause import Cause
from worker.core.records import FaultKind, Status

_SYSTEMIC: Final = FaultKind.SYSTEMIC
_BAD_SIGNATURE: Final = ("InvalidSignatureException", "SignatureDoesNotMatch")

NOT_ALLOWED: Final = Cause(
    ("AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedException"),
    _SYSTEMIC,
    "AWS knows this identity, but does not allow it to resolve tokens.",
    "allow the IAM action `aws-marketplace:ResolveCustomer` (on resource `*`) to this identity; "
    "check also service control policies, permission boundaries and the policy of a VPC endpoint",
)
CREDENTIALS_EXPIRED: Final = Cause(
    ("ExpiredToken",),
    _SYSTEMIC,
    "The AWS credentials have expired; the registration token was not looked at.",
    "renew the credentials: they have expired (`aws sso login`, or a new session); better, give "
    "the process a role, whose credentials are renewed automatically",
)
UNKNOWN_KEY: Final = Cause(
    ("AuthFailure", "InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
    _SYSTEMIC,
    "AWS knows no such active access key.",
    "correct the credentials, AWS_ACCESS_KEY_ID (and AWS_SESSION_TOKEN, which temporary keys need) "
    "or the profile: AWS knows no such active key; `aws sts get-caller-identity` shows which it is",
)
WRONG_SECRET: Final = Cause(
    _BAD_SIGNATURE,
    _SYSTEMIC,
    "The secret key does not belong to the access key, or the request was changed on its way.",
    "correct AWS_SECRET_ACCESS_KEY or the profile: the secret does not belong to the access key; "
    "if it does, look for a proxy that changes requests",
)
WRONG_CLOCK: Final = Cause(
    ("RequestExpired", "RequestTimeTooSkewed"),
    _SYSTEMIC,
    "The request's time is too far from AWS's clock.",
    "set this machine's clock: it is more than 15 minutes off (`timedatectl`, NTP)",
)
NOT_THE_SERVICE: Final = Cause(
    ("InvalidAction", "UnknownOperationException"),
    _SYSTEMIC,
    "The server does not know the operation: it may not be the metering service.",
    "correct WORKER_AWS__ENDPOINT_URL (--endpoint-url, AWS_ENDPOINT_URL): the server there is "
    "not the AWS Marketplace Metering Service; without it AWS's own endpoint is called",
)
THROTTLED: Final = Cause(
    (
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
    ),
    FaultKind.THROTTLED,
    "The account's quota is used up for the moment; all workers' calls count against it.",
    "wait some seconds and try again; the token remains valid",
)
AWS_FAILED: Final = Cause(
    (),  # any code that is not in the table; such calls count as attempts
    FaultKind.TRANSIENT,
    "Something failed on AWS's side; it says nothing about the token.",
    "this is a fault of AWS: look at its health dashboard, and try again in a minute",
)

SERVICE: Final = (
    NOT_ALLOWED,
    CREDENTIALS_EXPIRED,
    UNKNOWN_KEY,
    WRONG_SECRET,
    WRONG_CLOCK,
    Cause(
        _BAD_SIGNATURE,
        _SYSTEMIC,
        WRONG_CLOCK.meaning,
        WRONG_CLOCK.remedy,
        ("signature expired", "signature not yet current"),
    ),
    Cause(
        _BAD_SIGNATURE,
        _SYSTEMIC,
        "The request was signed for another region than the endpoint's.",
        "set WORKER_AWS__REGION (--region) to the region of the endpoint that is called",
        ("valid region",),
    ),
    Cause(
        ("DisabledApiException",),
        _SYSTEMIC,
        "The service is not available in this region, or not enabled for this account.",
        "set WORKER_AWS__REGION (--region) to a region in which the AWS Marketplace Metering "
        "Service is available and enabled for this account, such as us-east-1",
    ),
    Cause(
        ("OptInRequired", "SubscriptionRequiredException"),
        _SYSTEMIC,
        "The account is not registered as a seller, or the registration is not complete.",
        "use the account that is registered as a seller in AWS Marketplace, or complete the "
        "registration",
    ),
    Cause(
        (
            "IncompleteSignature",
            "IncompleteSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
        ),
        _SYSTEMIC,
        "The request reached AWS without a complete signature.",
        "look for a proxy that removes the Authorization header; do not use --no-sign-request",
    ),
    NOT_THE_SERVICE,
    Cause(
        _BAD_SIGNATURE,
        _SYSTEMIC,
        NOT_THE_SERVICE.meaning,
        NOT_THE_SERVICE.remedy,
        ("correct service",),
    ),
    THROTTLED,
    AWS_FAILED,
    Cause(
        ("InvalidTokenException",),
        FaultKind.TOKEN,
        "AWS does not know this token for your account: it is damaged, or the product belongs to "
        "another seller account.",
        "check the account (`aws sts get-caller-identity`): it must be the one that published the "
        "product; use --profile for another. Check that the token was decoded exactly once: it "
        "must contain no space and no %XX. Otherwise the buyer starts again from AWS Marketplace",
        status=Status.REJECTED,
    ),
    Cause(
        ("ExpiredTokenException",),
        FaultKind.TOKEN,
        "The registration token has expired: it is valid for four hours at most.",
        "check whether the worker has resolved it before (view resolution.outcomes, by its "
        "SHA-256). Otherwise the buyer starts again from AWS Marketplace (Set up your account)",
        status=Status.EXPIRED,
    ),
    Cause(
        ("ValidationException",),
        FaultKind.TRANSIENT,
        "The request is not well-formed; most likely the token is empty.",
        "check the value given as the token: is it an unset variable or an empty file?",
    ),
)
"""The causes that the service reports."""
