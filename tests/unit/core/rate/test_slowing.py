"""A replica's own slow-down, by hand and for any course of answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.rate.slowing import LEAST_FACTOR, Slowing

answers = st.lists(st.tuples(st.booleans(), st.floats(0.0, 2.0)), max_size=100)


def after(course: list[tuple[bool, float]]) -> tuple[Slowing, float]:
    """A slowing that has seen these answers (good or throttled, with pauses), and the time."""
    slowing, now = Slowing(), 0.0
    for good, pause in course:
        now += pause
        (slowing.answered if good else slowing.throttled)(now)
    return slowing, now


def test_untouched_it_slows_nothing() -> None:
    """Without a throttle the factor is 1."""
    slowing, now = after([(True, 0.01)] * 50)
    assert slowing.factor(now) == 1.0


def test_a_throttle_slows_at_once_and_passes() -> None:
    """The first throttle halves the pace; a third of the pace comes back each second."""
    slowing, now = after([(False, 0.0)])
    assert slowing.factor(now) == 0.5
    assert slowing.factor(now + 0.75) == pytest.approx(0.75)
    assert slowing.factor(now + 1.5) == 1.0


def test_a_burst_of_throttles_counts_once() -> None:
    """Ten throttles within a tenth of a second halve the pace, not a thousandfold."""
    slowing, now = after([(False, 0.0)] + [(False, 0.01)] * 9)
    assert slowing.factor(now) == pytest.approx(0.5 + 0.09 / 3)


def test_throttles_that_go_on_slow_further() -> None:
    """One each fifth of a second brings the pace to a seventh within a second."""
    slowing, now = after([(False, 0.2)] * 6)
    assert slowing.factor(now) < 1 / 7


def test_a_few_among_many_slow_a_little() -> None:
    """One throttle after fifty answers takes a tenth of the pace at most, not half."""
    slowing, now = after([*[(True, 0.01)] * 50, (False, 0.0)])
    assert 0.9 < slowing.factor(now) < 1.0


def test_a_share_that_follows_takes_the_slow_down_over() -> None:
    """At half the share and half the pace the pace is right: the factor goes back to 1."""
    slowing = Slowing()
    slowing.leased(10.0, 0.0)
    slowing.throttled(0.5)
    assert slowing.factor(0.5) == 0.5
    slowing.leased(6.0, 0.5)
    assert slowing.factor(0.5) == pytest.approx(0.5 * 10 / 6)
    slowing.leased(20.0, 0.5)
    assert slowing.factor(0.5) == pytest.approx(0.5 * 10 / 6)


def test_after_a_stop_the_pace_doubles_from_a_quarter() -> None:
    """A quarter at once, a half after a second, all after two."""
    slowing = Slowing()
    slowing.resume(100.0)
    assert [slowing.factor(100.0 + second) for second in (0, 1, 2, 3)] == [0.25, 0.5, 1.0, 1.0]


@given(answers, st.floats(0.0, 100.0))
def test_the_factor_is_within_its_bounds_and_recovers(
    course: list[tuple[bool, float]], later: float
) -> None:
    """Never nothing, never above 1, and 1 again after three seconds without a throttle."""
    slowing, now = after(course)
    assert LEAST_FACTOR <= slowing.factor(now) <= 1.0
    assert slowing.factor(now) <= slowing.factor(now + later)
    assert slowing.factor(now + 3.01) == 1.0


@given(answers)
def test_a_throttle_never_speeds_up(course: list[tuple[bool, float]]) -> None:
    """The factor right after a throttle is at most what it was."""
    slowing, now = after(course)
    before = slowing.factor(now)
    slowing.throttled(now)
    assert slowing.factor(now) <= before


@given(answers, st.lists(st.floats(0.01, 1000.0), max_size=5))
def test_leases_keep_the_factor_within_its_bounds(
    course: list[tuple[bool, float]], shares: list[float]
) -> None:
    """However shares rise and fall, the factor stays above nothing and at most 1."""
    slowing, now = after(course)
    for share in shares:
        slowing.leased(share, now)
        assert LEAST_FACTOR <= slowing.factor(now) <= 1.0


@given(st.floats(0.01, 0.2), st.integers(1, 1000))
def test_throttles_at_any_pace_leave_most_of_it(share: float, seed: int) -> None:
    """With up to a fifth of the calls throttled whatever the pace, at least a third stays."""
    slowing, now, owed, factors = Slowing(), 0.0, seed % 97 / 97, []
    for _ in range(400):
        now += 0.02 / slowing.factor(now)
        owed += share
        (slowing.throttled if owed >= 1 else slowing.answered)(now)
        owed -= owed >= 1
        factors.append(slowing.factor(now))
    assert sum(factors[50:]) / len(factors[50:]) > 1 / 3
