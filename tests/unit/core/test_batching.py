"""How long a batch waits for company."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.batching import OUTCOMES, RECALLS, Arrivals, Linger, halves, portions

LINGER = Linger(rows=200, seconds=0.02, worthwhile_rows=4)


@pytest.mark.parametrize("linger", [OUTCOMES, RECALLS])
def test_an_idle_worker_never_waits(linger: Linger) -> None:
    """A single row goes at once where hardly anything comes."""
    assert linger.wait(waiting=1, rate=0.0, oldest_seconds=0.0) == 0.0
    assert linger.wait(waiting=1, rate=1.0, oldest_seconds=0.0) == 0.0


@pytest.mark.parametrize(
    ("waiting", "rate", "oldest", "wait"),
    [
        (1, 1_000.0, 0.0, 0.02),
        (199, 1_000.0, 0.0, 0.02),
        (200, 1_000.0, 0.0, 0.0),
        (500, 1_000.0, 0.0, 0.0),
        (1, 1_000.0, 0.015, 0.005),
        (1, 1_000.0, 0.02, 0.0),
        (1, 1_000.0, 9.0, 0.0),
        (1, 200.0, 0.0, 0.02),  # four rows within 20 ms
        (1, 199.0, 0.0, 0.0),
    ],
)
def test_a_busy_worker_waits_for_a_fuller_batch(
    waiting: int, rate: float, oldest: float, wait: float
) -> None:
    """A batch waits only where company is worth it, not when full, and counts from its oldest."""
    assert LINGER.wait(waiting=waiting, rate=rate, oldest_seconds=oldest) == pytest.approx(wait)


@given(st.integers(0, 1_000), st.floats(0, 1e6), st.floats(0, 1e3))
def test_no_row_waits_longer_than_the_linger(waiting: int, rate: float, oldest: float) -> None:
    """However much comes, a row has waited at most the linger's seconds when it goes."""
    wait = LINGER.wait(waiting=waiting, rate=rate, oldest_seconds=oldest)
    assert 0 <= wait <= LINGER.seconds
    assert wait == 0 or wait + oldest <= LINGER.seconds + 1e-9


def test_a_steady_stream_is_measured() -> None:
    """A hundred rows a second are felt as about a hundred a second after a while."""
    arrivals = Arrivals()
    for tick in range(200):
        arrivals.note(tick / 100)
    assert arrivals.rate(1.99) == pytest.approx(100, rel=0.05)


def test_a_stream_that_ended_is_forgotten() -> None:
    """A second after a burst next to nothing of it is felt."""
    arrivals = Arrivals()
    for _ in range(200):
        arrivals.note(5.0)
    assert arrivals.rate(5.0) == pytest.approx(800)
    assert arrivals.rate(6.0) < 800 * 0.02
    assert arrivals.rate(100.0) < 1e-9


def test_a_clock_that_stands_or_turns_back_is_survived() -> None:
    """The rate stays finite and positive though the clock may stand still or go back."""
    arrivals = Arrivals()
    arrivals.note(10.0)
    arrivals.note(9.0)
    assert 0 < arrivals.rate(8.0) < 100


@given(st.lists(st.integers(), min_size=2))
def test_halves_are_smaller_and_complete(items: list[int]) -> None:
    """A batch of two or more falls into two parts, none empty, in order, nothing lost."""
    first, second = halves(items)
    assert [*first, *second] == items
    assert first
    assert second
    assert abs(len(first) - len(second)) <= 1


@given(st.lists(st.integers(0, 20), max_size=50), st.integers(1, 30))
def test_portions_keep_to_a_size(sizes: list[int], most: int) -> None:
    """Nothing is lost or out of order; only what alone is too large is; none is too short."""
    parts = list(portions(sizes, lambda size: size, most))
    assert [size for part in parts for size in part] == sizes
    assert all(part and (sum(part) <= most or len(part) == 1) for part in parts)
    assert all(sum(part) + after[0] > most for part, after in pairwise(parts))
