"""Causes before ResolveCustomer is called: botocore's credential chain, STS, assumed roles."""

from __future__ import annotations

from typing import Final

from worker.core.aws_causes.cause import Cause
from worker.core.aws_causes.service import CREDENTIALS_EXPIRED, UNKNOWN_KEY, WRONG_SECRET
from worker.core.records import FaultKind
from worker.core.renewal import LOOK_UP_SECONDS

_SYSTEMIC: Final = FaultKind.SYSTEMIC
_RETRIEVAL: Final = ("CredentialRetrievalError", "MetadataRetrievalError")

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
        "two policies must allow `sts:AssumeRole`: this identity's, on the role, and the role's "
        "trust policy, for this identity. If the trust policy has a condition on sts:ExternalId, "
        "set WORKER_AWS__EXTERNAL_ID to that value (in an AWS profile external_id); other "
        "conditions (aws:SourceIp, aws:PrincipalOrgID, MFA) must hold too. Or correct "
        "WORKER_AWS__ROLE_ARN",
    ),
    Cause(
        ("AccessDenied",),
        _SYSTEMIC,
        "This web identity may not assume the role.",
        "let the role's trust policy name the identity provider and, in its conditions, this "
        "service account (`sub`) and audience (`aud`); or correct AWS_ROLE_ARN",
        ("assumerolewithwebidentity",),
    ),
    Cause(
        _RETRIEVAL,
        _SYSTEMIC,
        "The service that gives out the role's credentials failed.",
        "look at the service that gives them out (the metadata service, or what "
        "AWS_CONTAINER_CREDENTIALS_FULL_URI names), and at the role",
    ),
    Cause(
        _RETRIEVAL,
        _SYSTEMIC,
        "The service that gives out the role's credentials can't be reached.",
        "make the source of the role's credentials reachable from here, or correct "
        "AWS_CONTAINER_CREDENTIALS_FULL_URI or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        ("could not connect to", "connect timeout on", "read timeout on"),
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
        ("FileNotRead",),
        _SYSTEMIC,
        "A file that the AWS set-up names can't be read.",
        "correct AWS_WEB_IDENTITY_TOKEN_FILE, or put the file there",
    ),
    Cause(
        ("FileNotRead",),
        _SYSTEMIC,
        "The file of trusted certificate authorities can't be read.",
        "correct AWS_CA_BUNDLE, or put the file there",
        ("aws_ca_bundle",),
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
