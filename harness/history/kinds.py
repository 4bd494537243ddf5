"""What each kind of simulated token demands, by its first word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harness.history.records import RESOLVED, Due
from worker.lab.simulator.agreement import members

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.history.records import Submission

# Numbers have to keep each kind within the attempts, and `hang` and `slow` few.
KINDS: Final[Mapping[str, Due]] = {
    "ok": Due(RESOLVED),
    "same": Due(RESOLVED),
    "new": Due(RESOLVED),
    "old": Due(RESOLVED),
    "slow": Due(RESOLVED),
    "throttle": Due(RESOLVED),
    "fail": Due(RESOLVED),
    "invalid": Due("rejected", "InvalidTokenException"),
    "unknown": Due("rejected", "InvalidTokenException"),
    "expired": Due("expired", "ExpiredTokenException"),
    "hang": Due("dead", "Timeout"),
    "garbage": Due("dead", "UnusableAnswer"),
    "empty": Due("dead", "UnusableAnswer"),
    "denied": Due("dead", "AccessDeniedException"),
}
TOO_OLD: Final = Due("expired", "LifetimeExceeded")

_COLUMNS: Final = ("customer_aws_account_id", "license_arn", "agreement_id")


def due(token: str) -> Due:
    """The outcome of a token that is submitted in time and has no bad luck."""
    return KINDS[token.partition("-")[0]]


def answered(one: Submission) -> Mapping[str, Any]:
    """What AWS says to a submission's token if it resolves, as columns."""
    return said(one.token or "") if one.answer is None else one.answer


def said(token: str) -> Mapping[str, Any]:
    """What the simulator says to a token that it resolves, as columns."""
    word, _, rest = token.partition("-")
    received = members(token, rest.partition("-")[0] if word == "same" else token)
    metadata = received["Metadata"]
    assert isinstance(metadata, dict)
    licence = {"license_arn": received["LicenseArn"], "agreement_id": metadata["AgreementId"]}
    return {
        "customer_aws_account_id": received["CustomerAWSAccountId"],
        **(dict.fromkeys(licence) if word == "old" else licence),
    }


def nothing() -> Mapping[str, None]:
    """The same columns of a token that was not resolved."""
    return dict.fromkeys(_COLUMNS)
