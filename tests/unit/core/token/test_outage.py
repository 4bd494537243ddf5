"""When AWS is taken for down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.token.outage import (
    FAILING_SHARE,
    LEAST_FAILURES,
    MEMORY_SECONDS,
    UNREACHED_IN_A_ROW,
    Outage,
    Reach,
)


def test_twenty_failures_in_a_row_are_an_outage() -> None:
    """With nothing answered, the twentieth failure at once says that AWS is down."""
    outage = Outage()
    told = [outage.failed(0.0) for _ in range(20)]
    assert told == [False] * 19 + [True]


@pytest.mark.parametrize("answers", [3, 10, 100])
def test_failures_beside_answers_are_single_tokens_misfortune(answers: int) -> None:
    """While more than one call in ten is answered, AWS is not down."""
    outage = Outage()
    for _ in range(answers):
        outage.answered(0.0)
    assert not any(outage.failed(0.0) for _ in range(answers * 8))


def test_old_failures_fade() -> None:
    """Failures that come far apart never add up to an outage."""
    outage = Outage()
    assert not any(outage.failed(number * MEMORY_SECONDS) for number in range(1_000))


def test_an_end_begins_anew() -> None:
    """After an answered probe the count starts from nothing."""
    outage = Outage()
    for _ in range(25):
        outage.failed(0.0)
    outage.over()
    assert [outage.failed(0.0) for _ in range(20)] == [False] * 19 + [True]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=200))
def test_it_takes_enough_failures_and_a_share_of_them(calls: list[tuple[bool, float]]) -> None:
    """Whatever the history, an outage needs at least twenty failures and nine in ten failing."""
    outage, now, failures, answers = Outage(), 0.0, 0, 0
    for failed, gap in calls:
        now += gap
        if not failed:
            outage.answered(now)
            answers += 1
            continue
        failures += 1
        if outage.failed(now):
            assert failures >= LEAST_FAILURES
            assert outage.failures / (outage.failures + outage.answers) >= FAILING_SHARE


def test_what_was_never_reached_stops_calls_at_once() -> None:
    """However few tokens there are: nothing speaks for a passing fault."""
    assert Reach().failed()


def test_a_single_connection_that_fails_stops_nothing() -> None:
    """What was reached before is given up after several calls in a row."""
    reach = Reach()
    for _ in range(3):
        reach.reached()
        told = [reach.failed() for _ in range(UNREACHED_IN_A_ROW)]
        assert told == [False] * (UNREACHED_IN_A_ROW - 1) + [True]
    assert reach.failed()  # and remains so until one is sent
