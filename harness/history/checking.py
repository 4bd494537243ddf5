"""The checker: all rules, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.history import answers, books, calls, leaks
from harness.history.records import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.history.records import History, Submission


def _queues(_: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    for queue, left in found.queues.items():
        if left:
            yield Finding(Kind.LEFT, f"{left} messages in {queue}")


_RULES: Final = (
    answers.events,
    answers.replies,
    answers.told_before_settled,
    books.outcomes,
    books.agreements,
    books.malformed,
    books.letters,
    calls.calls,
    leaks.leaks,
    _queues,
)


def check(sent: Sequence[Submission], found: History) -> list[Finding]:
    """Everything in which what was found is not what was sent demands; empty if all is well.

    Args:
        sent: What was published. The same message may have been published again, with the same
            id; of two with one id that differ, only the last would be looked at.
        found: What there is, once nobody works on it any more.
    """
    by_id = {one.message_id: one for one in sent}
    return [finding for rule in _RULES for finding in rule(by_id, found)]


LOSSES: Final = frozenset({Kind.LOST, Kind.EARLY_ACK})


def count(findings: Sequence[Finding]) -> str:
    """How many were lost, doubled, leaked or otherwise wrong, for one line of a report."""
    lost = sum(one.kind in LOSSES for one in findings)
    doubled = sum(one.kind is Kind.DOUBLED for one in findings)
    leaked = sum(one.kind is Kind.LEAKED for one in findings)
    other = len(findings) - lost - doubled - leaked
    return f"lost={lost} doubled={doubled} leaked={leaked} other={other}"
