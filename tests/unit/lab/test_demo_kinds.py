"""What the demo demands of each kind of token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lab.demo.kinds import FEWEST_TOKENS, KINDS, MEMBERS, Demand, counts

ANSWER = dict.fromkeys(MEMBERS, "something")
NOTHING = dict.fromkeys(MEMBERS, None)
RESOLVED = {"status": "resolved", "error_code": None, **ANSWER}
REJECTED = {"status": "rejected", "error_code": "InvalidTokenException", **NOTHING}

# The simulator's documented grammar: every first word but `denied`, and one that is none of them.
WORDS = {
    "ok",
    "same",
    "new",
    "old",
    "invalid",
    "expired",
    "throttle",
    "fail",
    "slow",
    "hang",
    "garbage",
    "empty",
    "seller",
    "whatever",
}


def test_the_words_of_the_grammar_are_shown() -> None:
    """There is a kind for each first word that settles by itself, and for an unknown one."""
    assert {kind.pattern.partition("-")[0] for kind in KINDS} == WORDS


@given(st.integers(FEWEST_TOKENS, 2_000_000))
def test_there_is_a_token_of_every_kind(tokens: int) -> None:
    """However many tokens there are, each kind has one at least, and together they are all."""
    found = counts(tokens)

    assert sum(found.values()) == tokens
    assert set(found) == set(KINDS)
    assert min(found.values()) >= 1


def test_few_tokens_keep_a_worker_waiting() -> None:
    """Of kinds that are answered late or never there are few, however many tokens there are."""
    found = counts(1_000_000)

    assert all(found[kind] <= 20 for kind in KINDS if kind.pattern.startswith(("hang", "slow")))


@pytest.mark.parametrize(
    ("demand", "row"),
    [
        (Demand("resolved"), RESOLVED),
        (Demand("resolved", without=frozenset({"license_arn"})), RESOLVED | {"license_arn": None}),
        (Demand("rejected", "InvalidTokenException"), REJECTED),
    ],
)
def test_a_right_row_meets_its_demand(demand: Demand, row: dict[str, object]) -> None:
    """A row with the status, code and members that are demanded has no fault."""
    assert demand.unmet(row) is None


@pytest.mark.parametrize(
    ("demand", "row", "fault"),
    [
        (Demand("resolved"), REJECTED, "rejected (InvalidTokenException)"),
        (Demand("dead", "Timeout"), REJECTED | {"status": "dead"}, "dead (InvalidTokenException)"),
        (Demand("resolved"), RESOLVED | {"license_arn": None}, "resolved without license_arn"),
        (
            Demand("resolved", without=frozenset({"customer_identifier"})),
            RESOLVED,
            "resolved with customer_identifier",
        ),
        (
            Demand("rejected", "InvalidTokenException"),
            REJECTED | {"product_code": "x"},
            "rejected with product_code",
        ),
    ],
)
def test_a_wrong_row_is_said_to_be_wrong(
    demand: Demand, row: dict[str, object], fault: str
) -> None:
    """A row that differs in anything that is demanded is told by that difference."""
    assert demand.unmet(row) == fault
