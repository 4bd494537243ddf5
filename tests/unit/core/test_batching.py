"""How large batches are."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from worker.core.batching import halves, portions


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
