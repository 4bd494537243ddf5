"""Every difference between what was demanded and what was found."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.lab.demo.findings import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from worker.lab.demo.findings import Hearing, Records
    from worker.lab.demo.plan import Plan
    from worker.lab.demo.submissions import Submission

    Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that is not as it should be; `subject` names a message, never a token."""

    subject: str
    kind: str
    expected: str
    found: str


def differences(plan: Plan, records: Records, hearing: Hearing) -> list[Mismatch]:
    """Look for them everywhere.

    Args:
        plan: What was submitted.
        records: What the database says.
        hearing: What events and replies said.
    """
    return [
        *_wrong_rows(plan, records.outcomes),
        *_wrong_customers(plan, records.outcomes),
        *_wrong_agreements(records),
        *_wrong_malformed(plan, records.malformed),
        *_wrong_events(plan, hearing),
        *_wrong_replies(plan, hearing),
    ]


# --- tokens ---


def rows_by_token(rows: Iterable[Row]) -> dict[object, list[Row]]:
    """All rows of each token: one, if everything is right."""
    found: defaultdict[object, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["token_sha256"]].append(row)
    return found


def unmet(submission: Submission, rows: Sequence[Row]) -> str | None:
    """What is wrong with what stands for a token; None if it is one row, and the right one."""
    if len(rows) != 1:
        return f"{len(rows)} rows"
    return submission.kind.demand.unmet(rows[0])


def _wrong_rows(plan: Plan, rows: Iterable[Row]) -> Iterator[Mismatch]:
    found = rows_by_token(rows)
    for one in plan.originals:
        if (fault := unmet(one, found.get(one.sha256, []))) is not None:
            yield Mismatch(one.message_id, one.kind.name, str(one.kind.demand), fault)


def _wrong_customers(plan: Plan, rows: Iterable[Row]) -> Iterator[Mismatch]:
    """Tokens of one customer name one account, and no two customers the same."""
    accounts = {row["token_sha256"]: row["customer_aws_account_id"] for row in rows}
    named: defaultdict[str, set[object]] = defaultdict(set)
    for one in plan.submissions:
        if one.customer is not None and one.sha256 in accounts:
            named[one.customer].add(accounts[one.sha256])
    owners = Counter(account for found in named.values() for account in found)
    for customer, found in named.items():
        if len(found) != 1 or any(owners[account] > 1 for account in found):
            said = f"{len(found)} accounts" if len(found) != 1 else "another customer's account"
            yield Mismatch(customer, "same customer", "an account of its own", said)


# --- agreements ---


def _identity(row: Row) -> tuple[object, ...]:
    """One a licence or, where there is none, one for each seller, customer and product."""
    if row["license_arn"] is not None:
        return (row["license_arn"],)
    customer = row["customer_aws_account_id"] or row["customer_identifier"]
    return (row["seller"], customer, row["product_code"])


def _agreed(records: Records) -> set[tuple[object, ...]]:
    return {_identity(row) for row in records.outcomes if row["status"] == "resolved"}


def _wrong_agreements(records: Records) -> Iterator[Mismatch]:
    counts = Counter(map(_identity, records.agreements))
    for one in _agreed(records):
        if counts[one] != 1:
            subject = str(one[0] if len(one) == 1 else one[1])
            yield Mismatch(subject, "agreement", "one row", f"{counts[one]} rows")


# --- what can't be read ---


def _wrong_malformed(plan: Plan, rows: Iterable[Row]) -> Iterator[Mismatch]:
    reasons: defaultdict[object, list[str]] = defaultdict(list)
    for row in rows:
        reasons[row["message_id"]].append(str(row["reason"]))
    for one in plan.spoilt:
        found = reasons[one.message_id]
        if len(found) != 1 or not found[0].startswith(one.blunder.code):
            said = "; ".join(found) or "no row"
            yield Mismatch(one.message_id, "malformed", one.blunder.code, said)


# --- what was said ---


def _answers(plan: Plan) -> dict[str, tuple[str, Answer]]:
    """The kind and the right answer of each message."""
    demands = {
        one.message_id: (one.kind.name, Answer(one.kind.demand.status, one.kind.demand.error_code))
        for one in plan.submissions
    }
    for spoilt in plan.spoilt:
        demands[spoilt.message_id] = ("malformed", Answer("malformed", spoilt.blunder.code))
    return demands


def _wrong_events(plan: Plan, hearing: Hearing) -> Iterator[Mismatch]:
    for message_id, (kind, wanted) in _answers(plan).items():
        heard = hearing.events.get(message_id)
        if heard is None:
            yield Mismatch(message_id, kind, "an event", "none")
        elif heard.answers != {wanted}:
            said = ", ".join(sorted(map(_worded, heard.answers)))
            yield Mismatch(message_id, kind, f"event {_worded(wanted)}", said)


def _wrong_replies(plan: Plan, hearing: Hearing) -> Iterator[Mismatch]:
    answers = _answers(plan)
    for one in plan.submissions:
        if one.reply_to is None:
            continue
        kind, wanted = answers[one.message_id]
        found = hearing.replies.get(one.message_id, set())
        if found != {(wanted, f"for-{one.message_id}")}:
            said = ", ".join(sorted(_worded(answer) for answer, _ in found)) or "none"
            yield Mismatch(one.message_id, kind, f"reply {_worded(wanted)}", said)


def _worded(answer: Answer) -> str:
    return answer.status if answer.error_code is None else f"{answer.status} ({answer.error_code})"
