"""What to do about each way in which AWS turns us away.

Sources: "Common Errors" and the errors of ResolveCustomer in the AWS API references; the errors of
botocore's credential chain.
"""

from __future__ import annotations

from typing import Final

from worker.core.renewal import LOOK_UP_SECONDS
from worker.core.shortage import ALL as SHORTAGES

NO_CREDENTIALS: Final = (
    "no AWS credentials are found",
    (
        "give the process a role (instance, task or pod), or set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    ),
)
CREDENTIALS_SILENT: Final = (
    "make what gives out the credentials reachable from here (for a role in WORKER_AWS__ROLE_ARN "
    "or a web identity that is STS, or a VPC endpoint for it), or a slow credential_process "
    f"quicker: the worker waits {LOOK_UP_SECONDS:g} s for it, whatever WORKER_AWS__TIMEOUT is"
)
STS: Final = (
    "make STS reachable from here (or a VPC endpoint for it); GetCallerIdentity needs no right"
)

_PERMISSION: Final = (
    "allow the IAM action `aws-marketplace:ResolveCustomer` (on resource `*`) to this identity; "
    "look also at service control policies and the policy of a VPC endpoint"
)
_EXPIRED: Final = (
    "renew the credentials: they have expired (`aws sso login`, or a new session); better, give "
    "the process a role, which renews itself"
)
_KEY: Final = (
    "correct AWS_ACCESS_KEY_ID (and AWS_SESSION_TOKEN, which temporary keys need): AWS knows no "
    "such active key"
)
_MISMATCH: Final = (
    "correct AWS_SECRET_ACCESS_KEY: it does not belong to the access key; if it does, look for a "
    "proxy that changes requests"
)
_CLOCK: Final = "set this machine's clock: it is more than 15 minutes off (`timedatectl`, NTP)"
_REGION: Final = "set WORKER_AWS__REGION to the region of the endpoint that is called"
_DISABLED: Final = (
    "set WORKER_AWS__REGION to a region in which the AWS Marketplace Metering Service is "
    "available and enabled for this account, such as us-east-1"
)
_SELLER: Final = (
    "use the account that is registered as a seller in AWS Marketplace, and finish that"
)
_ADDRESS: Final = (
    "correct WORKER_AWS__ENDPOINT_URL: what answers there is not the AWS Marketplace Metering "
    "Service; without it AWS's own endpoint is called"
)
_STRIPPED: Final = "look for a proxy that takes the Authorization header away"
_SILENT: Final = (
    "look for a firewall or proxy that swallows the traffic, and at WORKER_AWS__ENDPOINT_URL and "
    "WORKER_AWS__TIMEOUT"
)
_PROXY: Final = "correct HTTPS_PROXY, HTTP_PROXY or NO_PROXY"
_CHARACTERS: Final = (
    "remove the line break, or whatever else is named, from where it is kept: in a Kubernetes "
    "secret made with `echo` that is the line end, which `printf %s` does not write"
)
_DEFECT: Final = (
    "this is a defect of the worker: report it, with what its log says at probe_failed_unforeseen"
)
_TRUST: Final = "set AWS_CA_BUNDLE to the authority that signed the certificate"
_AWS: Final = "this is AWS's own fault: look at its health dashboard, and check again"

_BY_CODE: Final[dict[str, str]] = {
    "AccessDenied": _PERMISSION,
    "AccessDeniedException": _PERMISSION,
    "NotAuthorized": _PERMISSION,
    "UnauthorizedException": _PERMISSION,
    "AuthFailure": _KEY,
    "InvalidAccessKeyId": _KEY,
    "InvalidClientTokenId": _KEY,
    "UnrecognizedClientException": _KEY,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "InvalidSignatureException": _MISMATCH,
    "SignatureDoesNotMatch": _MISMATCH,
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "DisabledApiException": _DISABLED,
    "OptInRequired": _SELLER,
    "SubscriptionRequiredException": _SELLER,
    "IncompleteSignature": _STRIPPED,
    "IncompleteSignatureException": _STRIPPED,
    "MissingAuthenticationToken": _STRIPPED,
    "MissingAuthenticationTokenException": _STRIPPED,
    "InvalidAction": _ADDRESS,
    "UnknownOperationException": _ADDRESS,
    "UnusableAnswer": _ADDRESS,
    "Timeout": _SILENT,
    "ConnectionFault": _SILENT,
    "CertificateNotTrusted": _TRUST,
    "InvalidURL": _PROXY,
}

# What AWS says besides the code, where one code has several reasons.
_BY_WORDS: Final[tuple[tuple[str, str], ...]] = (
    ("signature expired", _CLOCK),
    ("signature not yet current", _CLOCK),
    ("valid region", _REGION),
    ("correct service", _ADDRESS),
)
_WORDS_COUNT_FOR: Final = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})

_IDENTITY: Final[dict[str, str]] = {
    "AccessDenied": "allow `sts:AssumeRole` on the role to this identity, and let the role trust "
    "it; or correct WORKER_AWS__ROLE_ARN",
    "ExpiredToken": _EXPIRED,
    "InvalidClientTokenId": _KEY,
    "SignatureDoesNotMatch": _MISMATCH,
    "NoCredentialsError": NO_CREDENTIALS[1],
    "PartialCredentialsError": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY together",
    "ProfileNotFound": "correct AWS_PROFILE, or add that profile to ~/.aws/config",
    "ConfigParseError": "correct the AWS configuration file (AWS_CONFIG_FILE, ~/.aws/config)",
    "MalformedCredentials": _CHARACTERS,
    "CaBundle": "correct AWS_CA_BUNDLE",
    "ExpiredCredentials": "mend what gives them out; or set this machine's clock, if it is ahead "
    "(`timedatectl`, NTP)",
    "UnauthorizedSSOTokenError": "run `aws sso login`",
    "SSOTokenLoadError": "run `aws sso login`",
    "TokenRetrievalError": "run `aws sso login`",
}
_CHAIN: Final = "correct what the standard AWS chain finds (AWS_… variables, ~/.aws, or the role)"

# Of the calls before ResolveCustomer, as in `AssumeRole was refused: …`.
_BEFORE: Final = " was refused: "
_WORKERS_OWN: Final[dict[str, str]] = {
    "WrongAccount": "use the credentials of the account in WORKER_AWS__EXPECTED_ACCOUNT, or "
    "correct that setting",
    **{shortage.code: shortage.remedy for shortage in SHORTAGES},
    "CredentialsTimeout": CREDENTIALS_SILENT,
    "UnforeseenError": _DEFECT,
    "AwsUnavailable": "this is AWS's own fault or the network's: look at AWS's health dashboard, "
    "and with `resolution-worker check` at the way there; calls resume by themselves",
}


def call_remedy(code: str, message: str) -> str:
    """What to do about a refused or failed call."""
    if code in _WORDS_COUNT_FOR:
        said = message.lower()
        for words, remedy in _BY_WORDS:
            if words in said:
                return remedy
    if code.startswith("Http"):
        return _ADDRESS
    return _BY_CODE.get(code, _AWS)


def identity_remedy(code: str) -> str:
    """What to do about credentials that can't be had."""
    return _IDENTITY.get(code, _CHAIN)


def breaker_remedy(code: str, message: str) -> str:
    """What to do about a fault that has stopped all calls, wherever a worker met it."""
    if code in _WORKERS_OWN:
        return _WORKERS_OWN[code]
    # Names that end so are those of botocore's exceptions.
    local = code not in _BY_CODE and (code in _IDENTITY or code.endswith("Error"))
    if local or _BEFORE in message:
        return identity_remedy(code)
    return call_remedy(code, message)
