"""What the simulator says to one call: an HTTP status, a body, and the result it counts as."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEFAULT_STATUS: Final = 400

# AWS JSON services answer 400 to nearly every fault; these are the exceptions.
_STATUSES: Final = {
    "InvalidSignatureException": 403,
    "UnknownOperationException": 404,
    "InternalServiceErrorException": 500,
}

_THROTTLED: Final = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException"})
_CREDENTIALS_EXPIRED: Final = 403
_SERVER_FAULT: Final = 500


class Result(StrEnum):
    """What a call counts as in `/_simulator/stats`."""

    OK = "ok"
    TOKEN = "token"  # noqa: S105 - a result's name, not a secret
    THROTTLED = "throttled"
    TRANSIENT = "transient"
    SYSTEMIC = "systemic"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one call.

    Attributes:
        result: What the call counts as.
        status: HTTP status.
        body: The body, byte for byte.
        delay_s: Seconds to wait before answering; infinite means never to answer.
    """

    result: Result
    status: int
    body: bytes
    delay_s: float = 0.0


def fault(code: str, message: str, status: int | None = None) -> Answer:
    """An AWS error answer; without `status`, the one that AWS gives with `code`."""
    chosen = _STATUSES.get(code, DEFAULT_STATUS) if status is None else status
    body = json.dumps({"__type": code, "message": message}, ensure_ascii=False)
    return Answer(result_of(code, chosen, message), chosen, body.encode("utf-8", "replace"))


def result_of(code: str, status: int, message: str) -> Result:
    """What an error counts as: the token's fault, the quota's, a passing one, or the caller's."""
    if code == "InvalidTokenException":
        return Result.TOKEN
    if code == "ExpiredTokenException":
        return _expired(status, message)
    if code in _THROTTLED:
        return Result.THROTTLED
    return Result.TRANSIENT if status >= _SERVER_FAULT else Result.SYSTEMIC


def _expired(status: int, message: str) -> Result:
    # AWS has one code for an expired registration token and for expired credentials.
    credentials = status == _CREDENTIALS_EXPIRED or "security token" in message.lower()
    return Result.SYSTEMIC if credentials else Result.TOKEN


THROTTLED: Final = fault("ThrottlingException", "Rate exceeded")
INTERNAL: Final = fault(
    "InternalServiceErrorException",
    "An internal error has occurred. Retry your request. If the problem persists, "
    "post a message with details on the AWS forums.",
)
INVALID: Final = fault("InvalidTokenException", "Registration token is invalid")
EXPIRED: Final = fault(
    "ExpiredTokenException",
    "The submitted registration token has expired. This can happen if the buyer's browser takes "
    "too long to redirect to your page, the buyer has resubmitted the registration token, or your "
    "application has held on to the registration token for too long.",
)
DENIED: Final = fault(
    "AccessDeniedException",
    "User: arn:aws:iam::123456789012:user/simulator is not authorized to perform: "
    "aws-marketplace:ResolveCustomer",
)
GARBAGE: Final = Answer(Result.TRANSIENT, 200, b"<html><body>This is no JSON.</body></html>")
EMPTY: Final = Answer(Result.TRANSIENT, 200, b"{}")
UNKNOWN_OPERATION: Final = fault("UnknownOperationException", "")
