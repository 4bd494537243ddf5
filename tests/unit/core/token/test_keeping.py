"""How often a queue without consumers is used."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.core.token.keeping import next_use

DRAWS = st.floats(0, 1, exclude_max=True)


@given(draw=DRAWS)
def test_a_short_stay_is_used_at_each_look(draw: float) -> None:
    """So that a policy of twenty seconds does not get it."""
    assert next_use(30.0, 1, draw) <= 5.0


@given(stay=st.floats(75, 14_400), replicas=st.integers(1, 100))
def test_on_average_a_message_is_used_no_more_than_twenty_times(stay: float, replicas: int) -> None:
    """By all replicas together: some series of RabbitMQ let it go after that."""
    assert replicas * stay / next_use(stay, replicas, 0.5) <= 20.01


@given(stay=st.floats(1, 14_400), draw=DRAWS)
def test_no_replicas_known_is_one(stay: float, draw: float) -> None:
    """Before the first lease."""
    assert next_use(stay, 0, draw) == next_use(stay, 1, draw) > 0
