"""How long a batch waits for company."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.batching import BATCHES, Linger, halves, portions

LINGER = Linger(rows=200, seconds=0.02, from_load=0.6, full_load=0.8)


@given(st.integers(1, 1_000), st.floats(0, 0.6))
def test_nobody_waits_while_there_is_time_to_spare(waiting: int, load: float) -> None:
    """However many rows there are, a process that is not short of time sends them at once."""
    assert BATCHES.wait(waiting=waiting, load=load, oldest_seconds=0.0) == 0.0


@pytest.mark.parametrize(
    ("waiting", "load", "oldest", "wait"),
    [
        (1, 1.0, 0.0, 0.02),
        (199, 1.0, 0.0, 0.02),
        (200, 1.0, 0.0, 0.0),
        (500, 1.0, 0.0, 0.0),
        (1, 1.0, 0.015, 0.005),
        (1, 1.0, 0.02, 0.0),
        (1, 1.0, 9.0, 0.0),
        (1, 0.8, 0.0, 0.02),
        (1, 0.7, 0.0, 0.01),
        (1, 0.6, 0.0, 0.0),
        (1, 1.5, 0.0, 0.02),  # as clocks may have it
    ],
)
def test_a_process_short_of_time_waits_for_a_fuller_batch(
    waiting: int, load: float, oldest: float, wait: float
) -> None:
    """The wait grows with the load, ends when the batch is full, and counts from its oldest."""
    assert LINGER.wait(waiting=waiting, load=load, oldest_seconds=oldest) == pytest.approx(wait)


@given(st.integers(0, 1_000), st.floats(0, 2), st.floats(0, 1e3))
def test_no_row_waits_longer_than_the_linger(waiting: int, load: float, oldest: float) -> None:
    """Whatever the load, a row has waited at most the linger's seconds when it goes."""
    wait = LINGER.wait(waiting=waiting, load=load, oldest_seconds=oldest)
    assert 0 <= wait <= LINGER.seconds
    assert wait == 0 or wait + oldest <= LINGER.seconds + 1e-9


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
