"""Causes before ResolveCustomer is called: botocore's credential chain, STS, assumed roles."""

from __future__ import annotations

from typing import Final

from worker.core.aws_causes.cause import Cause
from worker.core.aws_causes.service import CREDENTIALS_EXPIRED, UNKNOWN_KEY, WRONG_SECRET
from worker.core.records import FaultKind
from worker.core.renewal import LOOK_UP_SECONDS

_SYSTEMIC: Final = FaultKind.SYSTEMIC

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
    "The source of the AWS credentials does not answer.",
    "make the source of the credentials reachable from here (for a role in WORKER_AWS__ROLE_ARN "
    "or a web identity that is STS, or a VPC endpoint for it), or a slow credential_process "
    f"faster: the worker waits {LOOK_UP_SECONDS:g} s for it, whatever WORKER_AWS__TIMEOUT is",
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
        "remove the line break, or the other character named, from the stored credentials: in a "
        "Kubernetes secret made with `echo` it is the line end, which `printf %s` does not write",
    ),
    Cause(
        ("CaBundle",),
        _SYSTEMIC,
        "The file of trusted certificate authorities can't be read.",
        "correct AWS_CA_BUNDLE",
    ),
    Cause(
        ("ExpiredCredentials",),
        _SYSTEMIC,
        "The source returned credentials that have already expired.",
        "fix the source of the credentials; or set this machine's clock, if it is ahead "
        "(`timedatectl`, NTP)",
    ),
    Cause(
        ("SSOTokenLoadError", "TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOError"),
        _SYSTEMIC,
        "The single sign-on session has ended.",
        "run `aws sso login`",
    ),
)
