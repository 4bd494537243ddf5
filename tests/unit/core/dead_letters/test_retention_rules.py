"""What is done when, and how gently."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from worker.core.dead_letters.retention import Chore, Periods, Task, pause, tasks, wait

DAY = timedelta(days=1)


def test_payloads_go_first_and_the_audit_last() -> None:
    """The order is that of sensitivity: payloads, letters, what they leave, outcomes, audit."""
    assert tasks(Periods(3 * DAY, DAY, 2 * DAY, 40 * DAY)) == (
        Task(Chore.SHRED),
        Task(Chore.ARCHIVE),
        Task(Chore.PRUNE_LETTERS, 2 * DAY),
        Task(Chore.PRUNE_MALFORMED, 2 * DAY),
        Task(Chore.PRUNE_REPLAYS, 2 * DAY),
        Task(Chore.PRUNE_LEDGER, 3 * DAY),
        Task(Chore.PRUNE_UNRESOLVED, DAY),
        Task(Chore.PRUNE_AUDIT, 40 * DAY),
    )


def test_without_periods_nothing_is_deleted() -> None:
    """Shredding and archiving have ages of their own; deletion only that which is set."""
    assert tasks(Periods(None, None, None, None)) == (Task(Chore.SHRED), Task(Chore.ARCHIVE))


@given(st.floats(0, 100))
def test_three_quarters_of_the_time_are_rest(seconds: float) -> None:
    """After a batch comes a rest three times as long, and never none."""
    assert pause(seconds) >= max(3 * seconds, 0.05)
    assert pause(0.1) < 1


@given(st.floats(0, 1, exclude_max=True))
def test_rounds_are_spread(draw: float) -> None:
    """Half a minute to a minute and a half, a minute on average."""
    assert 30 <= wait(draw) <= 90
    assert wait(0.5) == 60
