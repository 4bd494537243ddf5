"""What must be true once a crowd of tokens has gone through crashes: a pure reckoning."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.simulator.agreement import members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Due(NamedTuple):
    """What a kind of token demands."""

    status: str
    error_code: str | None = None


# By first word. Numbers keep each kind within three attempts, and the slow ones few.
KINDS: Mapping[str, Due] = {
    "ok": Due("resolved"),
    "same": Due("resolved"),
    "new": Due("resolved"),
    "old": Due("resolved"),
    "slow": Due("resolved"),
    "throttle": Due("resolved"),
    "fail": Due("resolved"),
    "invalid": Due("rejected", "InvalidTokenException"),
    "unknown": Due("rejected", "InvalidTokenException"),
    "expired": Due("expired", "ExpiredTokenException"),
    "hang": Due("dead", "Timeout"),
    "garbage": Due("dead", "UnusableAnswer"),
    "empty": Due("dead", "UnusableAnswer"),
    "denied": Due("dead", "AccessDeniedException"),
}
RESOLVED = "resolved"
MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Sent:
    """One published message: its id, and its token or, if that can't be read, its body."""

    message_id: str
    token: str | None
    body: bytes

    @property
    def due(self) -> Due:
        """The outcome it must have."""
        return Due(MALFORMED) if self.token is None else KINDS[self.token.partition("-")[0]]


@dataclass(slots=True)
class History:
    """What was found afterwards.

    Attributes:
        events: Of each message id the statuses that were told, in any order.
        outcomes: Rows of `resolution.outcomes`.
        agreements: Rows of `resolution.agreements`.
        malformed: Rows of `resolution.malformed`.
        letters: Rows of the dead letters: message id, reason, token_sha256.
        queues: Messages left in each queue.
    """

    events: dict[str, list[str]] = field(default_factory=dict)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    agreements: list[dict[str, Any]] = field(default_factory=list)
    malformed: list[dict[str, Any]] = field(default_factory=list)
    letters: list[dict[str, Any]] = field(default_factory=list)
    queues: dict[str, int] = field(default_factory=dict)


def reckon(sent: Sequence[Sent], found: History) -> list[str]:
    """Every way in which what was found is not what was sent demands; empty if all is well."""
    return [
        *_events(sent, found),
        *_outcomes(sent, found),
        *_agreements(sent, found),
        *_malformed(sent, found),
        *_letters(sent, found),
        *(f"{left} messages left in {queue}" for queue, left in found.queues.items() if left),
    ]


def _events(sent: Sequence[Sent], found: History) -> Iterator[str]:
    for one in sent:
        told = found.events.get(one.message_id, [])
        if not told:
            yield f"no event for {one.message_id} ({one.token})"
        if others := set(told) - {one.due.status}:
            yield f"{one.message_id} ({one.token}) was told {others}, due is {one.due.status}"
    if strangers := found.events.keys() - {one.message_id for one in sent}:
        yield f"events for messages that nobody sent: {sorted(strangers)}"


def _outcomes(sent: Sequence[Sent], found: History) -> Iterator[str]:
    rows = Counter(row["token_sha256"] for row in found.outcomes)
    by_key = {row["token_sha256"]: row for row in found.outcomes}
    tokens = {sha(one.token.encode()): one for one in sent if one.token is not None}
    for key, one in tokens.items():
        if rows[key] != 1:
            yield f"{rows[key]} rows for {one.token}"
        elif fault := _wrong(one, by_key[key]):
            yield f"{one.token}: {fault}"
    if strangers := by_key.keys() - tokens.keys():
        yield f"{len(strangers)} rows for tokens that nobody sent"


def _wrong(one: Sent, row: Mapping[str, Any]) -> str:
    is_due = (row["status"], row["error_code"]) == one.due
    if not is_due:
        return f"is {row['status']} ({row['error_code']}), due is {one.due}"
    due = said(one.token or "")
    told = {name: row[name] for name in due}
    return f"holds another's {told}, due is {due}" if told != due else ""


def said(token: str) -> dict[str, Any]:
    """What the simulator says to a token, as columns; nothing to one that it refuses."""
    word, _, rest = token.partition("-")
    if KINDS[word].status != RESOLVED:
        return dict.fromkeys(("customer_aws_account_id", "license_arn", "agreement_id"))
    said = members(token, rest.partition("-")[0] if word == "same" else token)
    metadata = said["Metadata"]
    assert isinstance(metadata, dict)
    licence = {"license_arn": said["LicenseArn"], "agreement_id": metadata["AgreementId"]}
    return {
        "customer_aws_account_id": said["CustomerAWSAccountId"],
        **(dict.fromkeys(licence) if word == "old" else licence),
    }


def _agreements(sent: Sequence[Sent], found: History) -> Iterator[str]:
    due = {
        _agreement(said(one.token))
        for one in sent
        if one.token is not None and one.due.status == RESOLVED
    }
    rows = Counter(_agreement(row) for row in found.agreements)
    for agreement in due | rows.keys():
        if rows[agreement] != (agreement in due):
            yield f"{rows[agreement]} rows for the agreement {agreement}"


def _agreement(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["license_arn"], row["customer_aws_account_id"], row["agreement_id"]


def _malformed(sent: Sequence[Sent], found: History) -> Iterator[str]:
    due = {(one.message_id, sha(one.body)) for one in sent if one.token is None}
    rows = Counter((row["message_id"], row["body_sha256"]) for row in found.malformed)
    for message in due | rows.keys():
        if rows[message] != (message in due):
            yield f"{rows[message]} records of the malformed {message[0]}"


def _letters(sent: Sequence[Sent], found: History) -> Iterator[str]:
    """A letter for each token that failed, none for others, and no message with two."""
    reasons = {one.message_id: one.due.status for one in sent}
    for row in found.letters:
        if row["reason"] != reasons.get(row["message_id"]) or row["reason"] == RESOLVED:
            yield f"a letter of {row['message_id']} for being {row['reason']}"
    rows = Counter(row["message_id"] for row in found.letters)
    yield from (f"{n} letters of {message_id}" for message_id, n in rows.items() if n > 1)
    kept = {row["token_sha256"] for row in found.letters}
    for one in sent:
        if one.token is None:
            missing = one.message_id not in rows
        else:
            missing = one.due.status != RESOLVED and sha(one.token.encode()) not in kept
        if missing:
            yield f"no letter of {one.message_id} ({one.token})"


def sha(body: bytes) -> bytes:
    """The SHA-256 under which a token or a body is known."""
    return hashlib.sha256(body).digest()
