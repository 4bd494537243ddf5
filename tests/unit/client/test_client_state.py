"""What workers say, and what silence means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resolution_client import state
from resolution_client.answers import Unreadable
from resolution_client.state import NOBODY, Watch, WorkerState

SAID = {
    "version": 1,
    "calls": "running",
    "reason": None,
    "rate": 40.0,
    "waiting": 12,
    "oldest_seconds": 0.4,
}


def test_a_message() -> None:
    """The contract's example is read."""
    read = state.read(json.dumps(SAID).encode())
    assert read == WorkerState("running", None, 40.0, 12, 0.4)


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"calls": "odd"}, {"rate": "x"}, {"waiting": None}]
)
def test_an_odd_message(change: dict[str, Any]) -> None:
    """Another version, or another shape, is unreadable."""
    with pytest.raises(Unreadable):
        state.read(json.dumps({**SAID, **change}).encode())
    with pytest.raises(Unreadable):
        state.read(b"[]")


def test_nothing_is_known_before_there_was_time_to_hear() -> None:
    """Silence means nothing at first, and that nobody works after three seconds."""
    watch = Watch()
    assert watch.state(100.0) is None
    watch.listen(100.0)
    assert watch.state(102.9) is None
    assert watch.state(103.0) == NOBODY
    watch.deaf()
    assert watch.state(200.0) is None


def test_one_that_calls_is_enough() -> None:
    """Calls run if any worker calls; numbers are the largest that anyone says."""
    watch = Watch()
    watch.listen(0.0)
    watch.heard("a", WorkerState("stopped", "AWS refuses", 40.0, 3, 9.0), 1.0)
    watch.heard("b", WorkerState("running", None, 40.0, 5, 0.1), 1.1)
    assert watch.state(1.2) == WorkerState("running", None, 40.0, 5, 9.0)


def test_paused_is_told_from_stopped() -> None:
    """An operator's pause is what is told where nobody calls."""
    watch = Watch()
    watch.listen(0.0)
    watch.heard("a", WorkerState("stopped", "s", 1.0, 0, 0.0), 1.0)
    watch.heard("b", WorkerState("paused", "p", 1.0, 0, 0.0), 1.0)
    told = watch.state(1.2)
    assert told is not None
    assert (told.calls, told.reason) == ("paused", "p")


def test_the_newest_word_of_a_worker_counts() -> None:
    """A worker's later message replaces its earlier one, and one that falls silent is forgotten."""
    watch = Watch()
    watch.listen(0.0)
    watch.heard("a", WorkerState("running", None, 1.0, 0, 0.0), 1.0)
    watch.heard("a", WorkerState("paused", "p", 1.0, 0, 0.0), 1.5)
    watch.heard("b", WorkerState("running", None, 1.0, 0, 0.0), 1.0)
    assert watch.state(3.9).calls == "running"  # type: ignore[union-attr]
    assert watch.state(4.1).calls == "paused"  # type: ignore[union-attr]
    assert watch.silence_at() == 4.5
    assert watch.state(4.5) == NOBODY


def test_a_short_stop_is_none() -> None:
    """Calls that stop and go on within a second are not told of; a pause is at once."""
    watch = Watch()
    watch.listen(0.0)
    watch.heard("a", WorkerState("running"), 0.1)
    assert watch.idle_from(0.2) is None
    watch.heard("a", WorkerState("stopped"), 0.5)
    watch.heard("a", WorkerState("stopped"), 1.0)
    assert watch.idle_from(1.2) == 1.5
    watch.heard("a", WorkerState("running"), 1.3)
    assert watch.idle_from(1.4) is None
    watch.heard("a", WorkerState("paused"), 2.0)
    assert watch.idle_from(2.0) == 2.0
    assert watch.idle_from(9.0) == 9.0  # silence


def test_strangers_do_not_fill_it() -> None:
    """However many names are heard, a bounded number is kept."""
    watch = Watch()
    watch.listen(0.0)
    for number in range(5000):
        watch.heard(str(number), WorkerState("running"), 1.0)
    assert len(watch._said) <= 1000
