"""What most likely helps against a failure, for whoever looks at the dead letters."""

from __future__ import annotations

from typing import Final

from worker.core import aws_causes
from worker.core.dead_letters.records import UNEXPLAINED
from worker.core.records import LetterReason
from worker.core.token.refused_rows import UNSTORABLE

_WRONG_ACCOUNT: Final = (
    "wrong seller account or region? Compare WORKER_AWS__ROLE_ARN, WORKER_AWS__REGION and "
    "WORKER_AWS__EXPECTED_ACCOUNT with the account that published the product (`check` shows "
    "it), correct them, then replay. If it is one of a few, the token itself is wrong: discard"
)
_STRANGERS: Final = (
    "AWS knows no such token, and resolved others of this account within five minutes before: what "
    "strangers send, or a token that was spoilt on its way. If none has resolved since, look for a "
    "wrong seller account first; else discard, and limit them at the landing page if they are many"
)
_TOO_LATE: Final = (
    "too late to save: the buyer must click through again from AWS Marketplace. Look why it took "
    "so long (`status`: queues, rate, breaker), then discard"
)
_UNSTORABLE: Final = (
    "the database refused its row: correct what the message names (a constraint, a trigger, the "
    "database's encoding), then replay, which stores it"
)
_PUBLISHER: Final = (
    "the publisher wrote what can't be read: correct the publisher, which then sends it anew; a "
    "replay would fail again, so discard"
)
_DECODE: Final = (
    "the publisher must decode the form field exactly once: correct the publisher, have the buyer "
    "click through again, and discard"
)
_ECHO: Final = (
    "the publisher put the token, a secret, where it is shown: correct the publisher, which then "
    "sends it anew; discard"
)
_SELLER: Final = "the publisher names a seller that is not configured: correct either, then replay"
_PARKED: Final = (
    "workers died or lost the broker while they held it: look in their logs for crashes and "
    "restarts, then replay"
)
_REJECTED: Final = (
    "no worker rejects messages: ask who looked into the queue by hand, or consumes it beside the "
    "workers; then replay"
)
_UNEXPLAINED: Final = "look whether publishers send kilobytes of headers; then replay"
_FOREIGN_QUEUE: Final = (
    "find the queue that dead-letters to resolution.internal and is none of ours, and end that; "
    "then replay"
)

_BY_REASON: Final[dict[str, str]] = {
    LetterReason.REJECTED: _WRONG_ACCOUNT,
    LetterReason.EXPIRED: _TOO_LATE,
    LetterReason.MALFORMED: _PUBLISHER,
    LetterReason.PARKED: _PARKED,
}
_BY_CODE: Final[dict[tuple[str, str], str]] = {
    (LetterReason.MALFORMED, "TokenHasWhiteSpace"): _DECODE,
    (LetterReason.MALFORMED, "TokenPercentEncoded"): _DECODE,
    (LetterReason.MALFORMED, "SellerUnknown"): _SELLER,
    (LetterReason.PARKED, "ExpiredInQueue"): _FOREIGN_QUEUE,
    (LetterReason.PARKED, "QueueOverflow"): _FOREIGN_QUEUE,
    (LetterReason.PARKED, "RejectedInQueue"): _REJECTED,
    (LetterReason.PARKED, UNEXPLAINED): _UNEXPLAINED,
}


def remedy(reason: str, error_code: str, *, others_resolved: bool = False) -> str:
    """What most likely helps, in a sentence without its full stop.

    Args:
        reason: Why the message was given up.
        error_code: Of the failure.
        others_resolved: Whether other tokens of the account resolved within five minutes before.
    """
    if error_code == UNSTORABLE:
        return _UNSTORABLE
    if reason == LetterReason.DEAD:
        return f"{aws_causes.of_systemic(error_code, '').remedy}; then replay"
    if reason == LetterReason.REJECTED and others_resolved:
        return _STRANGERS
    if reason == LetterReason.MALFORMED and error_code.endswith("ContainsToken"):
        return _ECHO
    general = _BY_REASON.get(reason, "look at one of them with `dead-letters show`")
    return _BY_CODE.get((reason, error_code), general)
