"""The retry budget: a tenth of the calls, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.token.retry_budget import DEPOSIT, FIRST, MOST, RetryBudget


def test_a_few_retries_are_there_from_the_start() -> None:
    """A fresh worker may retry three times, and no more."""
    budget = RetryBudget()
    assert [budget.withdraw() for _ in range(4)] == [True, True, True, False]


def test_ten_calls_pay_for_a_retry() -> None:
    """Nine calls are not enough for a retry, ten are."""
    budget = RetryBudget(saved=0.0)
    for _ in range(9):
        budget.called()
    assert not budget.withdraw()
    budget.called()
    assert budget.withdraw()
    assert budget.saved == pytest.approx(0.0)


def test_quiet_hours_save_no_storm() -> None:
    """After ten thousand calls there are ten retries, and not an eleventh."""
    budget = RetryBudget()
    for _ in range(10_000):
        budget.called()
    assert sum(budget.withdraw() for _ in range(100)) == MOST


@given(st.lists(st.booleans(), max_size=500))
def test_retries_stay_a_tenth_of_the_calls(course: list[bool]) -> None:
    """Over any course, retries come to what there was at first and a tenth of the calls."""
    budget, calls, retries = RetryBudget(), 0, 0
    for call in course:
        if call:
            budget.called()
            calls += 1
        else:
            retries += budget.withdraw()
        assert 0.0 <= budget.saved <= MOST
        assert retries <= FIRST + DEPOSIT * calls + 1e-6


def test_while_all_calls_fail_a_tenth_more_are_made() -> None:
    """An outage in which each call is tried again as long as the budget lets it: 11 % more."""
    budget, first, again = RetryBudget(saved=0.0), 9000, 0
    for _ in range(first):
        budget.called()
        while budget.withdraw():
            again += 1
            budget.called()
    assert again == pytest.approx(first / 9, rel=0.01)
