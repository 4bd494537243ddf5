"""When credentials are renewed, and when a look-up that failed is tried again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.renewal import LOOK_UP_SECONDS, MARGIN_SECONDS, again_in, renewal_in

MINUTE = 60.0


@pytest.mark.parametrize(
    ("remaining", "seconds"),
    [
        (math.inf, math.inf),
        (12 * 60 * MINUTE, 12 * 60 * MINUTE - 15 * MINUTE),
        (15 * MINUTE + 20, 20),
        (15 * MINUTE, 7.5 * MINUTE),
        (5 * MINUTE, 2.5 * MINUTE),
        (12, 6),
        (1, 5),
    ],
)
def test_renewal_begins_in_good_time(remaining: float, seconds: float) -> None:
    """A quarter of an hour before the end, or at half of what remains; static keys never."""
    assert renewal_in(remaining) == seconds


@given(st.floats(min_value=3 * LOOK_UP_SECONDS, max_value=1e6))
def test_a_renewal_has_time_for_a_slow_look_up(remaining: float) -> None:
    """A look-up that takes as long as it may is over while what is held still signs."""
    assert renewal_in(remaining) + LOOK_UP_SECONDS < remaining - MARGIN_SECONDS


@given(st.floats(min_value=-1e6, max_value=1e9))
def test_a_source_that_gives_the_same_again_is_not_asked_in_a_loop(remaining: float) -> None:
    """However near the end is, seconds pass before the next look-up."""
    assert renewal_in(remaining) >= 5


@given(st.integers(1, 1_000_000), st.floats(0, 1, exclude_max=True))
def test_a_failed_look_up_is_tried_again_in_a_few_seconds(failures: int, draw: float) -> None:
    """Never at once, never late, and later after more failures."""
    assert 1.5 <= again_in(failures, draw) <= 8
    assert again_in(failures, draw) <= again_in(failures + 1, draw)
