"""What most likely helps against a failure, for whoever looks at the dead letters."""

from __future__ import annotations

from typing import Final

from worker.core import aws_errors
from worker.core.records import FaultKind, LetterReason
from worker.core.token.verdict import UNSTORABLE

_BAD_REQUEST: Final = 400

_WRONG_ACCOUNT: Final = (
    "wrong seller account or region? Compare WORKER_AWS__ROLE_ARN, WORKER_AWS__REGION and "
    "WORKER_AWS__EXPECTED_ACCOUNT with the account that published the product (`check` shows "
    "it), mend it, then replay. If one of a few, the token itself is wrong: discard"
)
_STRANGERS: Final = (
    "AWS knows no such token, and resolved others of this account within five minutes before: what "
    "strangers send, or a token that was spoilt on its way. If none has resolved since, look for a "
    "wrong seller account first; else discard, and limit them at the landing page if they are many"
)
_TOO_LATE: Final = (
    "past saving: the buyer must click through again from AWS Marketplace. Look why it took so "
    "long (`status`: queues, rate, breaker), then discard"
)
_PERMISSION: Final = (
    "allow the IAM action `aws-marketplace:ResolveCustomer` to the worker's identity (`check` "
    "tries it), then replay"
)
_CREDENTIALS: Final = (
    "renew or correct the worker's AWS credentials (`check` tries them), then replay"
)
_NETWORK: Final = (
    "AWS could not be reached: look at the network, proxies and WORKER_AWS__ENDPOINT_URL "
    "(`check` tries it); replay once it answers"
)
_SILENT: Final = (
    "AWS did not answer in WORKER_AWS__TIMEOUT: look at the network and at AWS's health "
    "dashboard; replay once `check` succeeds"
)
_ANSWER: Final = (
    "what answered is not the AWS Marketplace Metering Service, or a proxy changes it: correct "
    "WORKER_AWS__ENDPOINT_URL, then replay"
)
_AWS: Final = "a fault of AWS's: look at its health dashboard; replay once it has passed"
_REGION: Final = (
    "set WORKER_AWS__REGION to a region in which the AWS Marketplace Metering Service is enabled "
    "for this account, such as us-east-1, then replay"
)
_ACCOUNT: Final = "use the account that is registered as a seller in AWS Marketplace, then replay"
_DEFECT: Final = "a defect of the worker: look for this code in its log and report it; then replay"
_DATA: Final = "AWS's answer can't be stored: look at `show`, and report it as a defect"
_PUBLISHER: Final = (
    "the publisher wrote what can't be read: mend the publisher, which then sends it anew; a "
    "replay would fail again, so discard"
)
_DECODE: Final = (
    "the publisher must decode the form field exactly once: mend the publisher, have the buyer "
    "click through again, and discard"
)
_ECHO: Final = (
    "the publisher put the token, a secret, where it is shown: mend the publisher, which then "
    "sends it anew; discard"
)
_SELLER: Final = "the publisher names a seller that is not configured: correct either, then replay"
_PARKED: Final = (
    "workers died or lost the broker while they held it: look in their logs for crashes and "
    "restarts, then replay"
)

_BY_REASON: Final[dict[str, str]] = {
    LetterReason.REJECTED: _WRONG_ACCOUNT,
    LetterReason.EXPIRED: _TOO_LATE,
    LetterReason.MALFORMED: _PUBLISHER,
    LetterReason.PARKED: _PARKED,
}

# Where the code says more than the reason.
_BY_CODE: Final[dict[tuple[str, str], str]] = {
    (LetterReason.DEAD, aws_errors.TIMEOUT): _SILENT,
    (LetterReason.DEAD, aws_errors.CONNECTION_FAULT): _NETWORK,
    (LetterReason.DEAD, aws_errors.UNUSABLE_ANSWER): _ANSWER,
    (LetterReason.DEAD, "UnforeseenError"): _DEFECT,
    (LetterReason.DEAD, UNSTORABLE): _DATA,
    (LetterReason.DEAD, "AccessDenied"): _PERMISSION,
    (LetterReason.DEAD, "AccessDeniedException"): _PERMISSION,
    (LetterReason.DEAD, "NotAuthorized"): _PERMISSION,
    (LetterReason.DEAD, "UnauthorizedException"): _PERMISSION,
    (LetterReason.DEAD, "DisabledApiException"): _REGION,
    (LetterReason.DEAD, "OptInRequired"): _ACCOUNT,
    (LetterReason.DEAD, "SubscriptionRequiredException"): _ACCOUNT,
    (LetterReason.DEAD, "ExpiredTokenException"): _CREDENTIALS,
    (LetterReason.MALFORMED, "TokenHasWhiteSpace"): _DECODE,
    (LetterReason.MALFORMED, "TokenPercentEncoded"): _DECODE,
    (LetterReason.MALFORMED, "SellerUnknown"): _SELLER,
}


def remedy(reason: str, error_code: str, *, others_resolved: bool = False) -> str:
    """What most likely helps, in a sentence without its full stop.

    Args:
        reason: Why the message was given up.
        error_code: Of the failure.
        others_resolved: Whether other tokens of the account resolved within five minutes before.
    """
    if reason == LetterReason.REJECTED and others_resolved:
        return _STRANGERS
    if reason == LetterReason.MALFORMED and error_code.endswith("ContainsToken"):
        return _ECHO
    by_reason = _BY_REASON.get(reason, "look at one of them with `dead-letters show`")
    if reason == LetterReason.DEAD:
        by_reason = _by_kind(error_code)
    return _BY_CODE.get((reason, error_code), by_reason)


def _by_kind(error_code: str) -> str:
    """What helps a dead token whose code is not in the table."""
    if error_code.startswith("Http"):
        return _ANSWER
    fault = aws_errors.classify(aws_errors.ServiceError(_BAD_REQUEST, error_code, ""))
    return _CREDENTIALS if fault.kind is FaultKind.SYSTEMIC else _AWS
