"""How busy a process is, from two clocks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.runtime.load import Load


@dataclass
class Clocks:
    """The wall's time, and the thread's."""

    now: float = 100.0
    ran: float = 5.0

    def passes(self, seconds: float, share: float) -> None:
        """Let time pass, of which the thread runs a share."""
        self.now += seconds
        self.ran += seconds * share


def load(clocks: Clocks) -> Load:
    """A load by these clocks."""
    return Load(lambda: clocks.now, lambda: clocks.ran)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_steady_load_is_told(share: float) -> None:
    """After a second of the same load that is what is told."""
    clocks = Clocks()
    told = load(clocks)
    for _ in range(100):
        clocks.passes(0.01, share)
        told()
    assert told() == pytest.approx(share, abs=0.02)


def test_a_burst_is_felt_soon_and_forgotten_soon() -> None:
    """Half a second of full load counts as such; half a second later hardly any of it is left."""
    clocks = Clocks()
    told = load(clocks)
    for _ in range(50):
        clocks.passes(0.01, 1.0)
        told()
    assert told() > 0.9
    clocks.passes(0.5, 0.0)
    assert told() < 0.1


def test_a_long_silence_counts_as_one() -> None:
    """Who was not asked for minutes tells of the minutes, not of what was before."""
    clocks = Clocks()
    told = load(clocks)
    clocks.passes(1.0, 1.0)
    told()
    clocks.passes(300.0, 0.01)
    assert told() == pytest.approx(0.01, abs=0.001)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 2)), max_size=30))
def test_it_is_a_share(steps: list[tuple[float, float]]) -> None:
    """Whatever the clocks do, it lies between 0 and 1."""
    clocks = Clocks()
    told = load(clocks)
    for seconds, share in steps:
        clocks.passes(seconds, share)
        assert 0.0 <= told() <= 1.0
