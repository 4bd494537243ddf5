"""The kinds of tokens that the simulator knows, how many of each there are, and what each demands.

What is demanded is written down here from the simulator's documented grammar, not computed by its
code, so that the account at the end is a check of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ACCESS_KEY: Final = "simulator"
ATTEMPTS: Final = 4
TIMEOUT: Final = timedelta(seconds=2)

MEMBERS: Final = (
    "product_code",
    "customer_aws_account_id",
    "customer_identifier",
    "license_arn",
    "agreement_id",
)


class Answer(NamedTuple):
    """What an event or a reply says about a token."""

    status: str
    error_code: str | None = None

    def __str__(self) -> str:
        return f"{self.status} ({self.error_code})" if self.error_code else self.status


@dataclass(frozen=True, slots=True)
class Demand:
    """What the row of a token in `resolution.outcomes` has to say.

    Attributes:
        status: Its status.
        error_code: Its error code; None for a resolved token.
        without: Members of AWS's answer that are absent; all the others are there. A token that
            is not resolved has none.
    """

    status: str
    error_code: str | None = None
    without: frozenset[str] = frozenset()

    @property
    def answer(self) -> Answer:
        """What events and replies must say."""
        return Answer(self.status, self.error_code)

    def __str__(self) -> str:
        return str(self.answer)

    def unmet(self, row: Mapping[str, object]) -> str | None:
        """What is wrong with a row of the view, in words; None if nothing is."""
        return next(self._faults(row), None)

    def _faults(self, row: Mapping[str, object]) -> Iterator[str]:
        if (row["status"], row["error_code"]) != (self.status, self.error_code):
            yield str(Answer(str(row["status"]), cast("str | None", row["error_code"])))
        resolved = self.status == "resolved"
        for member in MEMBERS:
            wanted = resolved and member not in self.without
            if wanted != (row[member] is not None):
                yield f"{self.status} {'without' if wanted else 'with'} {member}"


RESOLVED: Final = Demand("resolved")
REJECTED: Final = Demand("rejected", "InvalidTokenException")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of token.

    Attributes:
        name: Its name in the account.
        pattern: The token; `{unique}` is different for each, `{customer}` is shared by some.
        demand: What must become of it.
        share: How much of all tokens is of this kind; the first kind takes what is left over.
        most: No more than so many, for kinds that keep a worker waiting.
        lingers: It takes seconds to settle, and is sent early.
        age: How long ago the buyer's browser delivered it, by the publisher's clock.
    """

    name: str
    pattern: str
    demand: Demand
    share: float = 0.0
    most: int | None = None
    lingers: bool = False
    age: timedelta = timedelta()

    @property
    def has_customer(self) -> bool:
        """Whether several of its tokens belong to one customer."""
        return "{customer}" in self.pattern

    @property
    def may_be_sent_twice(self) -> bool:
        """Whether a second submission is quick to get the same answer."""
        return not self.lingers and not self.age


def _resolved_without(*members: str) -> Demand:
    return Demand("resolved", without=frozenset(members))


# `denied-*` is not among them: such a token is dead only once others have succeeded between its
# calls, and the last one of a run has no others.
KINDS: Final = (
    Kind("ok", "ok-{unique}", RESOLVED),
    Kind("same customer", "same-{customer}-{unique}", RESOLVED, 0.12),
    Kind("new integration", "new-{unique}", _resolved_without("customer_identifier"), 0.12),
    Kind("old product", "old-{unique}", _resolved_without("license_arn", "agreement_id"), 0.06),
    Kind("invalid", "invalid-{unique}", REJECTED, 0.04),
    Kind("expired", "expired-{unique}", Demand("expired", "ExpiredTokenException"), 0.03),
    Kind("unknown word", "whatever-{unique}", REJECTED, 0.02),
    Kind("right seller", f"seller-{ACCESS_KEY}-{{unique}}", RESOLVED, 0.02),
    Kind("wrong seller", "seller-somebody-{unique}", REJECTED, 0.02),
    # Few: no quota throttles certain tokens whatever the rate, and the rate would fall for them.
    Kind("throttled once", "throttle-1-{unique}", RESOLVED, 0.002),
    Kind("throttled often", "throttle-8-{unique}", RESOLVED, 0.0004, lingers=True),
    Kind("fails once", "fail-1-{unique}", RESOLVED, 0.02),
    # Two less than the attempts: a call that a crowded machine times out may count as well.
    Kind("fails for a while", f"fail-{ATTEMPTS - 2}-{{unique}}", RESOLVED, 0.01, lingers=True),
    # Far above the attempts: those a killed worker had in hand are asked for more often.
    Kind(
        "fails for good",
        f"fail-{10 * ATTEMPTS}-{{unique}}",
        Demand("dead", "InternalServiceErrorException"),
        0.003,
        20,
        lingers=True,
    ),
    Kind("slow", "slow-400-{unique}", RESOLVED, 0.003, 20),
    Kind("too slow", "slow-60000-{unique}", Demand("dead", "Timeout"), 0.001, 3, lingers=True),
    Kind("hangs", "hang-{unique}", Demand("dead", "Timeout"), 0.001, 5, lingers=True),
    Kind("garbage", "garbage-{unique}", Demand("dead", "UnusableAnswer"), 0.002, 10, lingers=True),
    Kind("empty", "empty-{unique}", Demand("dead", "UnusableAnswer"), 0.002, 10, lingers=True),
    Kind("of a clock hours behind", "ok-{unique}", RESOLVED, 0.01, age=timedelta(hours=5)),
)

FEWEST_TOKENS: Final = 100
"""Enough for every kind to appear."""


def counts(tokens: int) -> dict[Kind, int]:
    """How many of each kind there are among so many tokens, at least one of each.

    Args:
        tokens: At least `FEWEST_TOKENS`.
    """
    first, *others = KINDS
    found = {kind: _count(kind, tokens) for kind in others}
    return {first: tokens - sum(found.values()), **found}


def _count(kind: Kind, tokens: int) -> int:
    count = max(1, round(kind.share * tokens))
    return count if kind.most is None else min(count, kind.most)
