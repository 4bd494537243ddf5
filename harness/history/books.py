"""The tables: one row for each thing that happened, and none for anything else."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from harness.history.kinds import answered, nothing
from harness.history.records import MALFORMED, PARKED, RESOLVED, Due, Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.history.records import History, Row, Submission

_Agreement = tuple[Any, ...]


def outcomes(sent: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    """Each token that was submitted has one row, with a right outcome and what AWS said."""
    tokens = _by_token(sent.values())
    count = Counter(row["token_sha256"] for row in found.outcomes)
    for key, some in tokens.items():
        if not count[key] and any(one.confirmed for one in some):
            yield Finding(Kind.LOST, f"no outcome of {_names(some)}")
    for key, rows in count.items():
        if rows > 1:
            yield Finding(Kind.DOUBLED, f"{rows} outcomes of {key.hex()[:16]}")
    for row in found.outcomes:
        if row["token_sha256"] in tokens:
            yield from _row(tokens[row["token_sha256"]], row)
        else:
            yield Finding(Kind.STRANGER, f"an outcome of {row['message_id']}, sent by nobody")


def _row(some: Sequence[Submission], row: Row) -> Iterator[Finding]:
    is_due = Due(row["status"], row["error_code"])
    right = {due for one in some for due in one.due}
    if is_due not in right:
        yield Finding(Kind.WRONG, f"the ledger says {is_due} of {_names(some)}, due is {right}")
    due = answered(some[0]) if row["status"] == RESOLVED else nothing()
    said = {name: row[name] for name in due}
    if said != due:
        yield Finding(Kind.WRONG, f"the ledger holds another's {said} for {_names(some)}")


def agreements(sent: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    """Each agreement of which a token told has one row."""
    settled = {row["token_sha256"] for row in found.outcomes if row["status"] == RESOLVED}
    due = {
        _agreement(answered(some[0]))
        for key, some in _by_token(sent.values()).items()
        if key in settled
    }
    rows = Counter(_agreement(row) for row in found.agreements)
    for agreement in due - rows.keys():
        yield Finding(Kind.LOST, f"no agreement {agreement}")
    for agreement, count in rows.items():
        if agreement not in due:
            yield Finding(Kind.STRANGER, f"the agreement {agreement}, of which no token told")
        elif count > 1:
            yield Finding(Kind.DOUBLED, f"{count} rows for the agreement {agreement}")


def _agreement(row: Mapping[str, Any]) -> _Agreement:
    return row["license_arn"], row["customer_aws_account_id"], row["agreement_id"]


def malformed(sent: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    """Each message that can't be read is recorded once."""
    due = {(one.message_id, one.body_sha256): one for one in sent.values() if one.may_be(MALFORMED)}
    rows = Counter((row["message_id"], row["body_sha256"]) for row in found.malformed)
    for message, one in due.items():
        if not rows[message] and one.confirmed and len(one.due) == 1:
            yield Finding(Kind.LOST, f"no record of the malformed {message[0]}")
    for message, count in rows.items():
        if message not in due:
            yield Finding(Kind.STRANGER, f"a record of {message[0]}, which is not malformed")
        elif count > 1:
            yield Finding(Kind.DOUBLED, f"{count} records of the malformed {message[0]}")


def letters(sent: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    """Each failure is kept as a letter, once for a message, and nothing else is."""
    rows = Counter((row["message_id"], row["body_sha256"]) for row in found.letters)
    for (ident, _), count in rows.items():
        if count > 1:
            yield Finding(Kind.DOUBLED, f"{count} letters of {ident}")
    bodies = {one.body_sha256 for one in sent.values() if one.may_be(PARKED)}
    for row in found.letters:
        one = sent.get(row["message_id"])
        if row["reason"] == PARKED:
            if row["body_sha256"] not in bodies:
                yield Finding(Kind.WRONG, f"{row['message_id']} was parked")
        elif one is None:
            yield Finding(Kind.STRANGER, f"a letter of {row['message_id']}, which nobody sent")
        elif row["state"] == "open" and not _may_fail(one, row["reason"]):
            yield Finding(Kind.WRONG, f"a letter of {one.message_id} for being {row['reason']}")
    yield from _missing_letters(sent, found)


def _may_fail(one: Submission, reason: str) -> bool:
    return reason != RESOLVED and one.may_be(reason)


def _missing_letters(sent: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    tokens = {row["token_sha256"] for row in found.letters}
    bodies = {row["body_sha256"] for row in found.letters}
    failed = {row["token_sha256"] for row in found.outcomes if row["status"] != RESOLVED}
    for one in sent.values():
        if one.key is None or one.may_be(PARKED):
            missing = one.body_sha256 not in bodies
        else:
            missing = one.key in failed and one.key not in tokens
        if missing and one.confirmed:
            yield Finding(Kind.LOST, f"no letter of {one.message_id}")


def _by_token(sent: Iterable[Submission]) -> Mapping[bytes, Sequence[Submission]]:
    """Of those that are settled in the ledger, which a parked one is not."""
    tokens: defaultdict[bytes, list[Submission]] = defaultdict(list)
    for one in sent:
        if one.key is not None and not one.may_be(PARKED) and not one.may_be(MALFORMED):
            tokens[one.key].append(one)
    return tokens


def _names(some: Sequence[Submission]) -> str:
    return ", ".join(one.message_id for one in some)
