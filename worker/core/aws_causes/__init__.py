"""The table of faults of calls to AWS: their codes, whose fault they are, and what to do.

Used by `worker.core.aws_errors` (whose fault it is), by the log, `check` and `status` (what to do
about it), by dead letters, and by `resolve-customer --explain`; so the remedies name both the
worker's settings and the command's options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.core.aws_causes.cause import Cause
from worker.core.aws_causes.identity import (
    CREDENTIALS_TIMEOUT,
    IDENTITY,
    NO_CREDENTIALS,
    OTHER_IDENTITY,
    STS_UNREACHABLE,
)
from worker.core.aws_causes.own import (
    CONNECTION_FAULT,
    LIFETIME_EXCEEDED,
    OUTAGE,
    OWN,
    TIMEOUT,
    UNFORESEEN,
    UNUSABLE_ANSWER,
)
from worker.core.aws_causes.reach import PASSING, REACH
from worker.core.aws_causes.service import (
    AWS_FAILED,
    CREDENTIALS_EXPIRED,
    NOT_ALLOWED,
    NOT_THE_SERVICE,
    SERVICE,
    THROTTLED,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "AWS_FAILED",
    "BY_IDENTITY_CODE",
    "BY_SERVICE_CODE",
    "CONNECTION_FAULT",
    "CREDENTIALS_TIMEOUT",
    "LIFETIME_EXCEEDED",
    "NOT_ALLOWED",
    "NO_CREDENTIALS",
    "OUTAGE",
    "PASSING",
    "REACH",
    "STS_UNREACHABLE",
    "THROTTLED",
    "TIMEOUT",
    "UNFORESEEN",
    "UNUSABLE_ANSWER",
    "Cause",
    "of_call",
    "of_identity",
    "of_systemic",
]


def _by_code(causes: Iterable[Cause]) -> Mapping[str, Cause]:
    return {code: cause for cause in causes if not cause.words for code in cause.codes}


BY_SERVICE_CODE: Final = _by_code(SERVICE)
BY_IDENTITY_CODE: Final = _by_code(IDENTITY)
_BY_OWN_CODE: Final = _by_code(OWN)

# In messages about calls before ResolveCustomer, such as `AssumeRole was refused: …`.
_BEFORE_THE_CALL: Final = " was refused: "


def of_call(code: str, message: str) -> Cause:
    """Why a call was refused or failed."""
    if cause := _by_words(SERVICE, code, message):
        return cause
    if code.startswith("Http"):
        return NOT_THE_SERVICE
    return BY_SERVICE_CODE.get(code) or _BY_OWN_CODE.get(code, AWS_FAILED)


def of_identity(code: str, message: str) -> Cause:
    """Why no credentials could be obtained."""
    return (
        _by_words(IDENTITY, code, message)
        or BY_IDENTITY_CODE.get(code)
        or _BY_OWN_CODE.get(code, OTHER_IDENTITY)
    )


def _by_words(causes: Iterable[Cause], code: str, message: str) -> Cause | None:
    """The cause whose words make an ambiguous code clear."""
    lowered = message.lower()
    for cause in causes:
        if code in cause.codes and any(words in lowered for words in cause.words):
            return cause
    return None


def of_systemic(code: str, message: str) -> Cause:
    """Why all calls are stopped, whether AWS, botocore or the worker reported it."""
    if code in _BY_OWN_CODE:
        return _BY_OWN_CODE[code]
    # An expired registration token does not stop all calls, so the credentials have expired.
    if code == "ExpiredTokenException":
        return CREDENTIALS_EXPIRED
    # Codes that end so are names of botocore's exceptions.
    local = code in BY_IDENTITY_CODE or code.endswith("Error")
    if (local and code not in BY_SERVICE_CODE) or _BEFORE_THE_CALL in message:
        return of_identity(code, message)
    return of_call(code, message)
