"""Whose fault is a failed call, and the faults that no answer of AWS's tells of.

The codes stand in the table of `worker.core.aws_causes`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from worker.core import aws_causes
from worker.core.records import Answer, Fault, FaultKind
from worker.core.shortage import ALL as SHORTAGES

_SECURITY_TOKEN: Final = re.compile(r"security token|session token|credential", re.IGNORECASE)

_KIND_BY_STATUS: Final[dict[int, FaultKind]] = {
    HTTPStatus.TOO_MANY_REQUESTS: FaultKind.THROTTLED,
    HTTPStatus.UNAUTHORIZED: FaultKind.SYSTEMIC,
    HTTPStatus.FORBIDDEN: FaultKind.SYSTEMIC,
}
_SHORTAGES: Final = frozenset(shortage.code for shortage in SHORTAGES)


@dataclass(frozen=True, slots=True)
class ServiceError:
    """An error that AWS answered with: HTTP status, code without namespace, words."""

    http_status: int
    code: str
    message: str


def classify(error: ServiceError) -> Fault:
    """Whose fault an error is; an unknown one is taken for passing, so that attempts bound it."""
    if error.code == "ExpiredTokenException" and _about_credentials(error):
        return Fault(FaultKind.SYSTEMIC, error.code, error.message)
    cause = aws_causes.BY_SERVICE_CODE.get(error.code)
    kind = cause.kind if cause else _KIND_BY_STATUS.get(error.http_status, FaultKind.TRANSIENT)
    return Fault(kind, error.code, error.message, cause.status if cause else None)


def _about_credentials(error: ServiceError) -> bool:
    # AWS gives expired credentials the very code that this API gives an expired token.
    return (
        error.http_status == HTTPStatus.FORBIDDEN
        or _SECURITY_TOKEN.search(error.message) is not None
    )


def timeout(seconds: float) -> Fault:
    """A call that gave no answer in time."""
    return Fault(FaultKind.TRANSIENT, aws_causes.TIMEOUT, f"no answer within {seconds:g} s")


def connection_fault(message: str) -> Fault:
    """A connection that was lost after the request was sent, or while it was."""
    return Fault(FaultKind.TRANSIENT, aws_causes.CONNECTION_FAULT, message)


def unusable(message: str) -> Fault:
    """An answer that says success and nothing that can be used."""
    return Fault(FaultKind.TRANSIENT, aws_causes.UNUSABLE_ANSWER, message)


def outage(last: Fault) -> Fault:
    """AWS is down for all tokens: nobody's token is to blame, and none pays for it."""
    return systemic(aws_causes.OUTAGE, f"nearly all recent calls failed; the last: {last.code}")


def systemic(code: str, message: str) -> Fault:
    """A fault of ours, found by the worker or the libraries: nothing was sent for the token."""
    return Fault(FaultKind.SYSTEMIC, code, message, sent=False)


def may_pass(fault: Fault) -> bool:
    """Whether the next connection may succeed: one such fault alone is no reason to stop."""
    return not fault.sent and fault.code in aws_causes.PASSING


def is_shortage(fault: Fault) -> bool:
    """Whether this process alone is short of something: no other replica's fault, no token's."""
    return fault.kind is FaultKind.SYSTEMIC and fault.code in _SHORTAGES


def unforeseen(error: str) -> Fault:
    """A defect of ours that a call has met; `error` is the name of its class."""
    return Fault(FaultKind.TRANSIENT, aws_causes.UNFORESEEN, f"the worker failed with {error}")


def unforeseen_of_all(error: str) -> Fault:
    """The same, met without a buyer's token: then it meets every call."""
    return systemic(aws_causes.UNFORESEEN, f"the worker failed with {error}")


_MEMBERS: Final = {
    "product_code": "ProductCode",
    "customer_aws_account_id": "CustomerAWSAccountId",
    "customer_identifier": "CustomerIdentifier",
    "license_arn": "LicenseArn",
}


def read_answer(reply: object) -> Answer | Fault:
    """What a successful reply says, or why it can't be used.

    Args:
        reply: The decoded body. Of all its members, which the API declares optional, an account
            or an identifier, and a product, are needed.
    """
    if not isinstance(reply, dict):
        return unusable("the answer is not a JSON object")
    members = {name: _text(reply.get(member)) for name, member in _MEMBERS.items()}
    metadata = reply.get("Metadata")
    members["agreement_id"] = _text(
        metadata.get("AgreementId") if isinstance(metadata, dict) else None
    )
    product_code = members.pop("product_code")
    if product_code is None:
        return unusable("the answer names no product")
    if members["customer_aws_account_id"] is None and members["customer_identifier"] is None:
        return unusable("the answer names neither an account nor a customer")
    return Answer(product_code, **members)


def _text(value: object) -> str | None:
    """A member's text; an empty one, one of another type or one with a NUL says nothing."""
    return value if isinstance(value, str) and value and "\x00" not in value else None
