"""The table of everything that can go wrong on the way to AWS: codes, whose fault, what to do.

A new error code of AWS's is one word in one row. The rows are read by `worker.core.aws_errors`
(whose fault is it), by the log, `check` and `status` (what to do about it), by dead letters, and by
`resolve-customer --explain`; so the remedies name the worker's settings and the command's options.

Sources: the API reference of ResolveCustomer (its declared errors), "Common Errors" of the AWS
APIs, the throttling codes that botocore's own retry handlers know, and the errors of botocore's
credential chain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.core.records import FaultKind
from worker.core.renewal import LOOK_UP_SECONDS
from worker.core.shortage import ALL as SHORTAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TIMEOUT: Final = "Timeout"
CONNECTION_FAULT: Final = "ConnectionFault"
UNUSABLE_ANSWER: Final = "UnusableAnswer"
LIFETIME_EXCEEDED: Final = "LifetimeExceeded"
UNFORESEEN: Final = "UnforeseenError"
OUTAGE: Final = "AwsUnavailable"


@dataclass(frozen=True, slots=True)
class Cause:
    """One row: several codes that have one cause.

    Attributes:
        codes: As AWS, botocore or the worker names them.
        kind: Whose fault it is, where AWS answers with such a code.
        meaning: What it means, in a sentence.
        remedy: What to do about it, without a full stop.
        words: What the message says, in lower case, where a code alone does not tell: such a row
            takes precedence over the code's own.
    """

    codes: tuple[str, ...]
    kind: FaultKind
    meaning: str
    remedy: str
    words: tuple[str, ...] = field(default=())


_SYSTEMIC: Final = FaultKind.SYSTEMIC
_BAD_SIGNATURE: Final = ("InvalidSignatureException", "SignatureDoesNotMatch")

NOT_ALLOWED: Final = Cause(
    ("AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedException"),
    _SYSTEMIC,
    "AWS knows this identity, and does not allow it to resolve tokens.",
    "allow the IAM action `aws-marketplace:ResolveCustomer` (on resource `*`) to this identity; "
    "look also at service control policies, permission boundaries and the policy of a VPC endpoint",
)
CREDENTIALS_EXPIRED: Final = Cause(
    ("ExpiredToken",),
    _SYSTEMIC,
    "The AWS credentials have expired; the registration token was not looked at.",
    "renew the credentials: they have expired (`aws sso login`, or a new session); better, give "
    "the process a role, which renews itself",
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
    "correct AWS_SECRET_ACCESS_KEY or the profile: the secret does not belong to the access key; if "
    "it does, look for a proxy that changes "
    "requests",
)
WRONG_CLOCK: Final = Cause(
    ("RequestExpired", "RequestTimeTooSkewed"),
    _SYSTEMIC,
    "The request's time is too far from AWS's clock.",
    "set this machine's clock: it is more than 15 minutes off (`timedatectl`, NTP)",
)
SIGNED_AT_WRONG_TIME: Final = Cause(
    _BAD_SIGNATURE,
    _SYSTEMIC,
    WRONG_CLOCK.meaning,
    WRONG_CLOCK.remedy,
    ("signature expired", "signature not yet current"),
)
WRONG_REGION: Final = Cause(
    _BAD_SIGNATURE,
    _SYSTEMIC,
    "The request was signed for another region than the endpoint's.",
    "set WORKER_AWS__REGION (--region) to the region of the endpoint that is called",
    ("valid region",),
)
REGION_DISABLED: Final = Cause(
    ("DisabledApiException",),
    _SYSTEMIC,
    "The service is not available in this region, or not enabled for this account.",
    "set WORKER_AWS__REGION (--region) to a region in which the AWS Marketplace Metering Service "
    "is available and enabled for this account, such as us-east-1",
)
NO_SELLER: Final = Cause(
    ("OptInRequired", "SubscriptionRequiredException"),
    _SYSTEMIC,
    "The account is not registered as a seller, or the registration is not finished.",
    "use the account that is registered as a seller in AWS Marketplace, and finish that",
)
UNSIGNED: Final = Cause(
    (
        "IncompleteSignature",
        "IncompleteSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
    ),
    _SYSTEMIC,
    "The request reached AWS without a complete signature.",
    "look for a proxy that takes the Authorization header away; leave --no-sign-request away",
)
NOT_THE_SERVICE: Final = Cause(
    ("InvalidAction", "UnknownOperationException"),
    _SYSTEMIC,
    "What answered does not know the operation: it may not be the metering service.",
    "correct WORKER_AWS__ENDPOINT_URL (--endpoint-url, AWS_ENDPOINT_URL): what answers there is "
    "not the AWS Marketplace Metering Service; without it AWS's own endpoint is called",
)
SIGNED_FOR_ANOTHER_SERVICE: Final = Cause(
    _BAD_SIGNATURE,
    _SYSTEMIC,
    NOT_THE_SERVICE.meaning,
    NOT_THE_SERVICE.remedy,
    ("correct service",),
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
    "wait some seconds and try again; the token is not harmed",
)
AWS_FAILED: Final = Cause(
    (),  # whatever the table does not know, at attempts of the token's
    FaultKind.TRANSIENT,
    "Something failed on AWS's side; it says nothing about the token.",
    "this is AWS's own fault: look at its health dashboard, and try again in a minute",
)
TOKEN_UNKNOWN: Final = Cause(
    ("InvalidTokenException",),
    FaultKind.TOKEN,
    "AWS does not know this token for your account: it is damaged, or the product belongs to "
    "another seller account.",
    "check the account (`aws sts get-caller-identity`): it must be the one that published the "
    "product; use --profile for another. Check that the token was decoded exactly once: it holds "
    "no blank and no %XX. Else the buyer starts again from AWS Marketplace",
)
TOKEN_EXPIRED: Final = Cause(
    ("ExpiredTokenException",),
    FaultKind.TOKEN,
    "The registration token has expired: it lives four hours at most.",
    "look whether the worker has resolved it before (view resolution.outcomes, by its SHA-256). "
    "Else the buyer starts again from AWS Marketplace (Set up your account)",
)
MALFORMED_REQUEST: Final = Cause(
    ("ValidationException",),
    FaultKind.TRANSIENT,
    "The request is not well-formed; most likely the token is empty.",
    "check what was given as the token: an unset variable, an empty file?",
)

SERVICE: Final = (
    NOT_ALLOWED,
    CREDENTIALS_EXPIRED,
    UNKNOWN_KEY,
    WRONG_SECRET,
    WRONG_CLOCK,
    SIGNED_AT_WRONG_TIME,
    WRONG_REGION,
    REGION_DISABLED,
    NO_SELLER,
    UNSIGNED,
    NOT_THE_SERVICE,
    SIGNED_FOR_ANOTHER_SERVICE,
    THROTTLED,
    AWS_FAILED,
    TOKEN_UNKNOWN,
    TOKEN_EXPIRED,
    MALFORMED_REQUEST,
)
"""What the service answers."""

NO_CREDENTIALS: Final = Cause(
    ("NoCredentialsError",),
    _SYSTEMIC,
    "No AWS credentials are found.",
    "give the process a role (instance, task or pod), or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (with `aws sso login` where that is how you sign in)",
)
CREDENTIALS_TIMEOUT: Final = Cause(
    ("CredentialsTimeout",),
    _SYSTEMIC,
    "What gives out the AWS credentials does not answer.",
    "make what gives out the credentials reachable from here (for a role in WORKER_AWS__ROLE_ARN "
    "or a web identity that is STS, or a VPC endpoint for it), or a slow credential_process "
    f"quicker: the worker waits {LOOK_UP_SECONDS:g} s for it, whatever WORKER_AWS__TIMEOUT is",
)
STS_UNREACHABLE: Final = Cause(
    (),
    _SYSTEMIC,
    "STS can't be reached.",
    "make STS reachable from here (or a VPC endpoint for it); GetCallerIdentity needs no right",
)
OTHER_IDENTITY: Final = Cause(
    (),
    _SYSTEMIC,
    "No usable AWS credentials are found.",
    "correct what the standard AWS chain finds (AWS_… variables, ~/.aws, or the role)",
)

IDENTITY: Final = (
    NO_CREDENTIALS,
    CREDENTIALS_EXPIRED,
    UNKNOWN_KEY,
    WRONG_SECRET,
    Cause(
        ("AccessDenied",),
        _SYSTEMIC,
        "This identity may not assume the role.",
        "allow `sts:AssumeRole` on the role to this identity, and let the role trust it; or "
        "correct WORKER_AWS__ROLE_ARN",
    ),
    Cause(
        ("PartialCredentialsError",),
        _SYSTEMIC,
        "Half of a pair of AWS credentials was found.",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY together, or neither",
    ),
    Cause(
        ("ProfileNotFound",),
        _SYSTEMIC,
        "There is no such profile in the shared configuration and credentials files.",
        "correct AWS_PROFILE (--profile), or add that profile to ~/.aws/config; `aws configure "
        "list-profiles` lists them",
    ),
    Cause(
        ("ConfigParseError",),
        _SYSTEMIC,
        "The AWS configuration file can't be read.",
        "correct the AWS configuration file (AWS_CONFIG_FILE, ~/.aws/config)",
    ),
    Cause(
        ("MalformedCredentials",),
        _SYSTEMIC,
        "The credentials contain a character that no request can carry.",
        "remove the line break, or whatever else is named, from where it is kept: in a Kubernetes "
        "secret made with `echo` that is the line end, which `printf %s` does not write",
    ),
    Cause(
        ("CaBundle",),
        _SYSTEMIC,
        "The file with trusted certificate authorities can't be read.",
        "correct AWS_CA_BUNDLE",
    ),
    Cause(
        ("ExpiredCredentials",),
        _SYSTEMIC,
        "The credentials that were given out have expired already.",
        "mend what gives them out; or set this machine's clock, if it is ahead (`timedatectl`, "
        "NTP)",
    ),
    Cause(
        ("SSOTokenLoadError", "TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOError"),
        _SYSTEMIC,
        "The single sign-on session has ended.",
        "run `aws sso login`",
    ),
)
"""What is met before ResolveCustomer is called: botocore's chain, STS, an assumed role."""

OURS: Final = (
    Cause(
        (TIMEOUT, CONNECTION_FAULT),
        FaultKind.TRANSIENT,
        "AWS was not reached, or did not answer in time.",
        "look for a firewall or proxy that swallows the traffic, and at WORKER_AWS__ENDPOINT_URL "
        "and WORKER_AWS__TIMEOUT",
    ),
    Cause(
        (UNUSABLE_ANSWER,),
        FaultKind.TRANSIENT,
        "The answer can't be used, so it says nothing about the token.",
        NOT_THE_SERVICE.remedy,
    ),
    Cause(
        ("CertificateNotTrusted",),
        _SYSTEMIC,
        "The certificate of what answered is not trusted.",
        "set AWS_CA_BUNDLE (--ca-bundle) to the authority that signed the certificate; a proxy "
        "that opens TLS has one of its own",
    ),
    Cause(
        ("InvalidURL",),
        _SYSTEMIC,
        "The address of a proxy can't be read.",
        "correct HTTPS_PROXY, HTTP_PROXY or NO_PROXY",
    ),
    Cause(
        ("WrongAccount",),
        _SYSTEMIC,
        "The credentials belong to another account than the one that is expected.",
        "use the credentials of the account in WORKER_AWS__EXPECTED_ACCOUNT, or correct that "
        "setting",
    ),
    Cause(
        (UNFORESEEN,),
        _SYSTEMIC,
        "The worker failed in a way that nobody foresaw.",
        "this is a defect of the worker: report it, with what its log says at "
        "call_failed_unforeseen or probe_failed_unforeseen",
    ),
    Cause(
        (OUTAGE,),
        _SYSTEMIC,
        "Nearly all calls of late have failed.",
        "this is AWS's own fault or the network's: look at AWS's health dashboard, and with "
        "`resolution-worker check` at the way there; calls resume by themselves",
    ),
    CREDENTIALS_TIMEOUT,
    *(Cause((one.code,), _SYSTEMIC, one.what, one.remedy) for one in SHORTAGES),
)
"""What the worker itself finds."""


def _by_code(causes: Iterable[Cause]) -> Mapping[str, Cause]:
    return {code: cause for cause in causes if not cause.words for code in cause.codes}


BY_SERVICE_CODE: Final = _by_code(SERVICE)
BY_IDENTITY_CODE: Final = _by_code(IDENTITY)
_BY_OUR_CODE: Final = _by_code(OURS)

# Of the calls before ResolveCustomer, as in `AssumeRole was refused: …`.
_BEFORE_THE_CALL: Final = " was refused: "


def of_call(code: str, message: str) -> Cause:
    """Why a call was refused, or failed."""
    said = message.lower()
    for cause in SERVICE:
        if code in cause.codes and any(words in said for words in cause.words):
            return cause
    if code.startswith("Http"):
        return NOT_THE_SERVICE
    return BY_SERVICE_CODE.get(code) or _BY_OUR_CODE.get(code, AWS_FAILED)


def of_identity(code: str) -> Cause:
    """Why credentials can't be had."""
    return BY_IDENTITY_CODE.get(code) or _BY_OUR_CODE.get(code, OTHER_IDENTITY)


def of_systemic(code: str, message: str) -> Cause:
    """Why all calls are stopped, whether AWS, botocore or the worker has found it."""
    if code in _BY_OUR_CODE:
        return _BY_OUR_CODE[code]
    if code == "ExpiredTokenException":  # the credentials', or it would not stop all calls
        return CREDENTIALS_EXPIRED
    # Names that end so are those of botocore's exceptions.
    local = code in BY_IDENTITY_CODE or code.endswith("Error")
    if (local and code not in BY_SERVICE_CODE) or _BEFORE_THE_CALL in message:
        return of_identity(code)
    return of_call(code, message)
