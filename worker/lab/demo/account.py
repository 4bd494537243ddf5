"""The closing account: what was demanded beside what was found, every difference, and the waits."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.lab.demo.kinds import KINDS
from worker.lab.demo.messages import BACKLOG, LIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from worker.lab.demo.messages import Message, Plan
    from worker.lab.demo.observations import Received, Records, Row

_TAIL: Final = 0.05


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of token: how many there are, and how many have the row that they should."""

    kind: str
    demand: str
    tokens: int
    found: int


@dataclass(frozen=True, slots=True)
class Sum:
    """One thing that is counted: how often it should be there, and how often it is."""

    what: str
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that is not as it should be; `subject` names a message, never a token."""

    subject: str
    kind: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Account:
    """All lines and sums, and every difference."""

    lines: Sequence[Line]
    sums: Sequence[Sum]
    mismatches: Sequence[Mismatch]

    @property
    def balances(self) -> bool:
        """Whether everything is as it should be."""
        return (
            not self.mismatches
            and all(line.tokens == line.found for line in self.lines)
            and all(one.expected == one.found for one in self.sums)
        )


def draw_up(plan: Plan, records: Records, received: Received) -> Account:
    """The account of a plan, from the rows in the database and the events and replies received."""
    wrong = list(_wrong_rows(plan, records.outcomes))
    mismatches = [
        *wrong,
        *_wrong_customers(plan, records.outcomes),
        *_wrong_agreements(records),
        *_wrong_malformed(plan, records.malformed),
        *_wrong_events(plan, received),
        *_wrong_replies(plan, received),
    ]
    return Account(_lines(plan, wrong), _sums(plan, records, received), mismatches)


def _lines(plan: Plan, wrong: Iterable[Mismatch]) -> list[Line]:
    tokens = Counter(one.kind for one in plan.originals)
    faults = Counter(one.kind for one in wrong)
    return [
        Line(kind.name, str(kind.demand), tokens[kind], tokens[kind] - faults[kind.name])
        for kind in KINDS
    ]


def _sums(plan: Plan, records: Records, received: Received) -> list[Sum]:
    originals, unreadable = plan.originals, plan.unreadable
    copies = [one for one in plan.submissions if one.is_copy]
    answered = sum(one.message_id in received.events for one in copies)
    asked = [one for one in plan.messages if one.reply_to is not None]
    # Every token that resolves has a licence or, where there are none, a customer of its own.
    resolved = [one for one in originals if one.kind.demand.status == "resolved"]
    return [
        Sum("tokens settled, each once", len(originals), len(records.outcomes)),
        Sum("second submissions answered", len(copies), answered),
        Sum("unreadable messages recorded", len(unreadable), len(records.malformed)),
        Sum("messages answered by an event", len(plan.messages), len(received.events)),
        Sum("replies asked for and given", len(asked), len(received.replies)),
        Sum("agreements, none doubled", len(resolved), len(records.agreements)),
    ]


def _wrong_rows(plan: Plan, rows: Iterable[Row]) -> Iterator[Mismatch]:
    """Each token has one row, and the right one."""
    by_token: defaultdict[object, list[Row]] = defaultdict(list)
    for row in rows:
        by_token[row["token_sha256"]].append(row)
    for one in plan.originals:
        found = by_token[one.sha256]
        fault = one.kind.demand.unmet(found[0]) if len(found) == 1 else f"{len(found)} rows"
        if fault is not None:
            yield Mismatch(one.message_id, one.kind.name, str(one.kind.demand), fault)


def _wrong_customers(plan: Plan, rows: Iterable[Row]) -> Iterator[Mismatch]:
    """Tokens of one customer name one account, and no two customers the same."""
    accounts = {row["token_sha256"]: row["customer_aws_account_id"] for row in rows}
    named: defaultdict[str, set[object]] = defaultdict(set)
    for one in plan.submissions:
        if one.customer is not None and one.sha256 in accounts:
            named[one.customer].add(accounts[one.sha256])
    customers = Counter(account for found in named.values() for account in found)
    for customer, found in named.items():
        if len(found) != 1 or any(customers[account] > 1 for account in found):
            said = f"{len(found)} accounts" if len(found) != 1 else "another customer's account"
            yield Mismatch(customer, "same customer", "an account of its own", said)


def _wrong_agreements(records: Records) -> Iterator[Mismatch]:
    counts = Counter(map(_identity, records.agreements))
    resolved = (row for row in records.outcomes if row["status"] == "resolved")
    for one in set(map(_identity, resolved)):
        if counts[one] != 1:
            subject = str(one[0] if len(one) == 1 else one[1])
            yield Mismatch(subject, "agreement", "one row", f"{counts[one]} rows")


def _identity(row: Row) -> tuple[object, ...]:
    """Of an agreement: its licence or, where there is none, its seller, customer and product."""
    if row["license_arn"] is not None:
        return (row["license_arn"],)
    customer = row["customer_aws_account_id"] or row["customer_identifier"]
    return (row["seller"], customer, row["product_code"])


def _wrong_malformed(plan: Plan, rows: Iterable[Row]) -> Iterator[Mismatch]:
    reasons: defaultdict[object, list[str]] = defaultdict(list)
    for row in rows:
        reasons[row["message_id"]].append(str(row["reason"]))
    for one in plan.unreadable:
        found, code = reasons[one.message_id], str(one.answer.error_code)
        if len(found) != 1 or not found[0].startswith(code):
            yield Mismatch(one.message_id, one.label, code, "; ".join(found) or "no row")


def _wrong_events(plan: Plan, received: Received) -> Iterator[Mismatch]:
    for one in plan.messages:
        event = received.events.get(one.message_id)
        found = set() if event is None else event.answers
        if found != {one.answer}:
            yield _wrong_answer(one, "event", found)


def _wrong_replies(plan: Plan, received: Received) -> Iterator[Mismatch]:
    for one in plan.messages:
        found = received.replies.get(one.message_id, set())
        if found != ({(one.answer, one.correlation_id)} if one.reply_to else set()):
            yield _wrong_answer(one, "reply", {answer for answer, _ in found})


def _wrong_answer(one: Message, what: str, found: Iterable[object]) -> Mismatch:
    said = ", ".join(sorted(map(str, found))) or "none"
    return Mismatch(one.message_id, one.label, f"{what} {one.answer}", said)


@dataclass(frozen=True, slots=True)
class Wait:
    """How long the submissions of one lane took, in seconds.

    Attributes:
        lane: `live` or `backlog`.
        until: What ended the wait: `event` (the outcome's event was received here) or
            `settled_at` (the outcome was decided). Both count from `received_at`.
        submissions: How many were measured.
    """

    lane: str
    until: str
    submissions: int
    p50: float
    p95: float
    p99: float
    most: float


def waits(plan: Plan, received: Received) -> list[Wait]:
    """The waits of all readable submissions but those whose clock was hours behind."""
    found = []
    for lane in (LIVE, BACKLOG):
        events = [
            received.events[one.message_id]
            for one in plan.submissions
            if one.lane == lane and not one.kind.age and one.message_id in received.events
        ]
        if events:
            until_event = [(one.arrived_at - one.received_at).total_seconds() for one in events]
            until_settled = [(one.settled_at - one.received_at).total_seconds() for one in events]
            found += [wait(lane, "event", until_event), wait(lane, "settled_at", until_settled)]
    return found


def wait(lane: str, until: str, seconds: Sequence[float]) -> Wait:
    """The percentiles of some waits, at least one; by nearest rank: waits that somebody had."""
    ordered = sorted(seconds)
    ranks = (max(0, math.ceil(share * len(ordered)) - 1) for share in (0.5, 0.95, 0.99, 1.0))
    return Wait(lane, until, len(ordered), *(ordered[rank] for rank in ranks))


def throughput(received: Received) -> float:
    """Messages answered a second, over the middle nine tenths of them.

    The first ones meet an idle worker, and the last ones are those that AWS keeps waiting.
    """
    arrivals = sorted(one.arrived_at for one in received.events.values())
    first, last = int(_TAIL * len(arrivals)), int((1 - _TAIL) * len(arrivals)) - 1
    if last <= first:
        return 0.0
    seconds = (arrivals[last] - arrivals[first]).total_seconds()
    return (last - first) / seconds if seconds > 0 else 0.0
