"""The database's clock, and whether ages may be reckoned by it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.records import NOW
from worker.core.clock import DatabaseClock, Reading, skew_words


def off(seconds: float) -> DatabaseClock:
    """A database's clock that is ahead of `NOW` by so much at the loop's time 100."""
    clock = DatabaseClock()
    clock.measured(Reading(NOW + timedelta(seconds=seconds), 100.0, 0.001))
    return clock


def test_before_any_reading_this_machines_clock_counts() -> None:
    """Nothing else is known."""
    assert DatabaseClock().now(100.0, NOW) == NOW
    assert DatabaseClock().skew_seconds(100.0, NOW) == 0


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(-1e8, 1e8))
def test_after_one_this_machines_clock_counts_for_nothing(
    ahead: float, later: float, local: float
) -> None:
    """The database's time goes on with the loop's clock, whatever the wall clock is set to."""
    found = off(ahead).now(100.0 + later, NOW + timedelta(seconds=local))
    assert abs((found - NOW).total_seconds() - ahead - later) < 1e-5


@given(st.floats(0, 1), st.floats(-1, 1), st.floats(0, 1))
def test_a_worse_reading_does_not_replace_a_better(
    error: float, apart: float, later: float
) -> None:
    """One that took longer and that the better one may agree with changes nothing."""
    clock = off(0.0)
    apart *= error
    given_ = Reading(NOW + timedelta(seconds=later + apart), 100.0 + later, error + 0.002)
    clock.measured(given_)
    assert clock.reading is not None
    assert clock.reading.error_seconds == 0.001


@pytest.mark.parametrize(("later", "apart"), [(10.1, 0.0), (1.0, 0.5), (1.0, -18_000.0)])
def test_what_is_stale_or_was_set_is_measured_anew(later: float, apart: float) -> None:
    """After ten seconds any reading is better, and one that can't be the old clock's at once."""
    clock = off(0.0)
    new = Reading(NOW + timedelta(seconds=later + apart), 100.0 + later, 0.2)
    clock.measured(new)
    assert clock.reading == new


@pytest.mark.parametrize(
    ("database", "aws", "counts"),
    [
        (0, None, True),
        (61, None, False),  # this machine's clock is the witness until AWS is heard
        (0, 0, True),
        (59, 0, True),
        (18_000, 18_000, True),  # this machine's is off
        (0, 61, False),
        (61, 0, False),
        (-18_000, 0, False),
    ],
)
def test_ages_count_where_the_database_has_a_witness(
    database: float, aws: float | None, *, counts: bool
) -> None:
    """Database and AWS agree within a minute, or else AWS decides about each token."""
    said = None if aws is None else Reading(NOW + timedelta(seconds=aws), 100.0)
    assert off(database).ages_count(100.0, NOW, said) is counts


@pytest.mark.parametrize(
    ("ahead_of_aws", "remedy"),
    [
        (None, "; set both by NTP"),
        (0.0, "AWS agrees with this machine: set the database server's clock by NTP"),
        (300.0, "AWS agrees with the database: set this machine's clock by NTP"),
        (-300.0, "AWS agrees with neither: set both by NTP"),
    ],
)
def test_whose_clock_is_to_be_set(ahead_of_aws: float | None, remedy: str) -> None:
    """AWS's clock tells which of the two is off."""
    said = skew_words(300.0, ahead_of_aws)
    assert said.startswith("this machine's clock is 300 s ahead of the database's")
    assert said.endswith(remedy)
