"""The closing account: what was demanded beside what was found, and every difference."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.lab.demo.differences import differences, rows_by_token, unmet
from worker.lab.demo.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from worker.lab.demo.differences import Mismatch
    from worker.lab.demo.findings import Hearing, Records
    from worker.lab.demo.kinds import Kind
    from worker.lab.demo.plan import Plan
    from worker.lab.demo.submissions import Submission

    Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of token: how many there are, and how many stand as they should."""

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
class Account:
    """All lines and sums, and why they don't balance, if they don't."""

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


def settle(plan: Plan, records: Records, hearing: Hearing) -> Account:
    """Draw up the account.

    Args:
        plan: What was submitted.
        records: What the database says.
        hearing: What events and replies said.
    """
    return Account(
        list(_lines(plan, records.outcomes)),
        list(_sums(plan, records, hearing)),
        differences(plan, records, hearing),
    )


def _lines(plan: Plan, rows: Iterable[Row]) -> Iterator[Line]:
    found = rows_by_token(rows)
    tokens: Counter[Kind] = Counter()
    right: Counter[Kind] = Counter()
    for one in plan.originals:
        tokens[one.kind] += 1
        right[one.kind] += unmet(one, found.get(one.sha256, [])) is None
    for kind in KINDS:
        if tokens[kind]:
            yield Line(kind.name, str(kind.demand), tokens[kind], right[kind])


def _sums(plan: Plan, records: Records, hearing: Hearing) -> Iterator[Sum]:
    submissions = plan.submissions
    yield Sum("tokens settled, each once", len(plan.originals), len(records.outcomes))
    copies = [one for one in submissions if one.is_copy]
    yield Sum("second submissions answered", len(copies), _heard(copies, hearing))
    yield Sum("unreadable messages recorded", len(plan.spoilt), len(records.malformed))
    yield Sum("messages answered by an event", plan.total, len(hearing.events))
    asked = [one for one in submissions if one.reply_to is not None]
    yield Sum("replies asked for and given", len(asked), len(hearing.replies))
    # Every token that resolves has a licence or, where there are none, a customer of its own.
    resolved = [one for one in plan.originals if one.kind.demand.status == "resolved"]
    yield Sum("agreements, none doubled", len(resolved), len(records.agreements))


def _heard(submissions: Iterable[Submission], hearing: Hearing) -> int:
    return sum(one.message_id in hearing.events for one in submissions)
