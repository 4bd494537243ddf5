"""`--explain`: what an error means and what to do, in words."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

from worker.core import aws_errors
from worker.core.aws_errors import ServiceError
from worker.core.records import FaultKind


class Explanation(NamedTuple):
    """What an error means, and what to do about it."""

    means: str
    remedy: str


UNUSABLE: Final = (
    "The answer is empty or could not be read, so it says nothing about the token. Try again; if "
    "it stays so, look at what stands between you and AWS (--endpoint-url, a proxy)."
)

_CREDENTIALS_EXPIRED: Final = Explanation(
    "Your AWS credentials have expired; the registration token was not looked at.",
    "Sign in again (`aws sso login`, or fetch new temporary credentials) and repeat the command.",
)
_NOT_ALLOWED: Final = Explanation(
    "AWS knows who you are, and you may not do this.",
    "Give your role the IAM action aws-marketplace:ResolveCustomer (it has no resource ARNs), and "
    "check that no service control policy or permission boundary denies it.",
)
_THROTTLED: Final = Explanation(
    "The account's quota is used up for the moment; the worker's calls count against it too.",
    "Wait some seconds and repeat the command; the token is not harmed.",
)
_WRONG_KEYS: Final = Explanation(
    "AWS does not accept your credentials: the key is unknown, disabled, or does not fit its "
    "secret or session token.",
    "See which ones are used with `aws sts get-caller-identity`; correct the profile or the "
    "AWS_… variables.",
)
_CLOCK: Final = Explanation(
    "The request's time is too far from AWS's clock.", "Set this machine's clock (NTP)."
)
_UNSIGNED: Final = Explanation(
    "The request was not signed, and this service takes no unsigned ones.",
    "Leave --no-sign-request away.",
)
_DISABLED: Final = Explanation(
    "The metering service is not open to this account or not in this region.",
    "Check --region, and that the account is registered as an AWS Marketplace seller.",
)
_NOT_AWS: Final = Explanation(
    "What answered does not know the operation: it may not be the metering service.",
    "Check --endpoint-url, AWS_ENDPOINT_URL and the profile's endpoint_url.",
)

# By AWS's code. Sources: the API reference of ResolveCustomer, and "Common Errors" of AWS's APIs.
_BY_CODE: Final[dict[str, Explanation]] = {
    "InvalidTokenException": Explanation(
        "AWS does not know this token for your account: it is damaged, or the product belongs to "
        "another seller account.",
        "Check the account (`aws sts get-caller-identity`): it must be the one that published the "
        "product; use --profile for another. Check that the token was decoded exactly once: it "
        "holds no blank and no %XX. Else the buyer starts again from AWS Marketplace.",
    ),
    "ExpiredTokenException": Explanation(
        "The registration token has expired: it lives four hours at most.",
        "Look whether the worker has resolved it before (view resolution.outcomes, by its "
        "SHA-256). Else the buyer starts again from AWS Marketplace (Set up your account).",
    ),
    "ValidationException": Explanation(
        "The request is not well-formed; most likely the token is empty.",
        "Check what was given as the token: an unset variable, an empty file?",
    ),
    "ExpiredToken": _CREDENTIALS_EXPIRED,
    "AccessDeniedException": _NOT_ALLOWED,
    "AccessDenied": _NOT_ALLOWED,
    "UnauthorizedException": _NOT_ALLOWED,
    "NotAuthorized": _NOT_ALLOWED,
    "UnrecognizedClientException": _WRONG_KEYS,
    "InvalidClientTokenId": _WRONG_KEYS,
    "InvalidAccessKeyId": _WRONG_KEYS,
    "InvalidSignatureException": _WRONG_KEYS,
    "SignatureDoesNotMatch": _WRONG_KEYS,
    "IncompleteSignatureException": _WRONG_KEYS,
    "IncompleteSignature": _WRONG_KEYS,
    "AuthFailure": _WRONG_KEYS,
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "MissingAuthenticationTokenException": _UNSIGNED,
    "MissingAuthenticationToken": _UNSIGNED,
    "DisabledApiException": _DISABLED,
    "OptInRequired": _DISABLED,
    "SubscriptionRequiredException": _DISABLED,
    "UnknownOperationException": _NOT_AWS,
    "InvalidAction": _NOT_AWS,
}

_BY_KIND: Final[dict[FaultKind, Explanation]] = {
    FaultKind.THROTTLED: _THROTTLED,
    FaultKind.SYSTEMIC: _NOT_ALLOWED,
    FaultKind.TRANSIENT: Explanation(
        "Something failed on AWS's side; it says nothing about the token.",
        "Repeat the command in a minute; look at AWS's health dashboard if it stays so.",
    ),
}

# By the name of botocore's exception, the first that the error is; the more special ones first.
_BY_EXCEPTION: Final[dict[str, Explanation]] = {
    "NoRegionError": Explanation(
        "Nobody has said in which AWS region to call.",
        "Give --region, or set AWS_REGION or WORKER_AWS__REGION.",
    ),
    "ProfileNotFound": Explanation(
        "There is no such profile in the shared config and credentials files.",
        "See `aws configure list-profiles`; correct --profile or AWS_PROFILE.",
    ),
    "TokenRetrievalError": _CREDENTIALS_EXPIRED,
    "SSOError": _CREDENTIALS_EXPIRED,
    "NoCredentialsError": Explanation(
        "No AWS credentials were found anywhere in the standard chain.",
        "Set AWS_PROFILE, sign in with `aws sso login`, or run where a role is attached.",
    ),
    "PartialCredentialsError": Explanation(
        "Half of a pair of AWS credentials was found.",
        "Set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither.",
    ),
    "SSLError": Explanation(
        "The encrypted connection failed: the server's certificate is not trusted.",
        "Name the authority that issued it with --ca-bundle or AWS_CA_BUNDLE (a proxy that opens "
        "TLS has one of its own).",
    ),
    "ReadTimeoutError": Explanation(
        "The service took the request and did not answer in time.",
        "Repeat the command: asking twice does no harm. --cli-read-timeout sets how long to wait.",
    ),
    "ConnectTimeoutError": Explanation(
        "Nothing answered at the endpoint's address.",
        "Check the network, the proxy and the security group of a VPC endpoint.",
    ),
    "ProxyConnectionError": Explanation(
        "The proxy can't be reached.", "Check HTTPS_PROXY and NO_PROXY."
    ),
    "EndpointConnectionError": Explanation(
        "No connection to the endpoint came about: no such name, or nobody listens there.",
        "Check --endpoint-url, AWS_ENDPOINT_URL, --region, the network and the proxy.",
    ),
    "ParamValidationError": Explanation(
        "The input document does not fit the operation.",
        "`--generate-cli-skeleton` prints a document that does: its only member is "
        "RegistrationToken.",
    ),
}


def of(error: BaseException) -> str:
    """What is known of an error, as lines to print; empty for one that says all itself."""
    found = _explanation(error)
    return "" if found is None else f"\nWhat it means: {found.means}\nWhat to do: {found.remedy}\n"


def _explanation(error: BaseException) -> Explanation | None:
    exceptions = sys.modules.get("botocore.exceptions")
    if exceptions is not None and isinstance(error, exceptions.ClientError):
        return _of_service(error.response)
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((found for name, found in _BY_EXCEPTION.items() if name in names), None)


def _of_service(response: dict[str, dict[str, str | int]]) -> Explanation:
    described = response.get("Error", {})
    code = str(described.get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    fault = aws_errors.classify(ServiceError(status, code, str(described.get("Message", ""))))
    if code == "ExpiredTokenException" and fault.kind is FaultKind.SYSTEMIC:
        return _CREDENTIALS_EXPIRED
    return _BY_CODE.get(code) or _BY_KIND.get(fault.kind, _BY_KIND[FaultKind.TRANSIENT])
