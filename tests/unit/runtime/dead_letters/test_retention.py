"""The background work of retention, with a keeper that has so much to do."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from worker.core.dead_letters import retention as rules
from worker.core.dead_letters.retention import BATCH_ROWS, Chore, Task
from worker.core.exceptions import LedgerUnavailable
from worker.runtime.dead_letters.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Iterable

SHRED, ARCHIVE = Task(Chore.SHRED), Task(Chore.ARCHIVE)
LEDGER = Task(Chore.PRUNE_LEDGER, timedelta(days=1))


class Work:
    """Gives what is listed for each task in turn, then nothing; and counts what it is told.

    Attributes:
        asked: Which tasks were asked for, in order.
        rests: How often the connection was let go of.
    """

    def __init__(self, work: dict[Task, Iterable[int | Exception | None]]) -> None:
        self._work = {task: iter(rows) for task, rows in work.items()}
        self.asked: list[Task] = []
        self.rests = 0
        self.rows: Counter[Chore] = Counter()
        self.rounds = 0
        self.seconds = 0.0

    async def batch(self, task: Task) -> int | None:
        """The next that is listed."""
        self.asked.append(task)
        await asyncio.sleep(self.seconds)
        given = next(self._work.get(task, iter(())), 0)
        if isinstance(given, Exception):
            raise given
        return given

    async def rest(self) -> None:
        """Count."""
        self.rests += 1

    def retained(self, chore: Chore, rows: int) -> None:
        """Count."""
        self.rows[chore] += rows

    def round_ended(self) -> None:
        """Count."""
        self.rounds += 1


def retention(work: Work, *tasks: Task) -> Retention:
    """What is tested."""
    return Retention(work, tasks, work, draw=lambda: 0.5)


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rest as little as may be, for there is nobody to spare."""
    monkeypatch.setattr(rules, "_LEAST_PAUSE_SECONDS", 0.0)


async def test_a_task_is_done_to_its_end_before_the_next() -> None:
    """Full batches are followed by another; a batch that is not full ends the task."""
    work = Work({SHRED: [BATCH_ROWS, BATCH_ROWS, 7], ARCHIVE: [3]})
    await retention(work, SHRED, ARCHIVE, LEDGER).round()
    assert work.asked == [SHRED, SHRED, SHRED, ARCHIVE, LEDGER]
    assert work.rows == {Chore.SHRED: 2 * BATCH_ROWS + 7, Chore.ARCHIVE: 3, Chore.PRUNE_LEDGER: 0}
    assert (work.rounds, work.rests) == (1, 1)


async def test_where_another_is_at_it_the_round_ends() -> None:
    """Who does not get the turn leaves everything to the one who has it."""
    work = Work({SHRED: [BATCH_ROWS, None]})
    await retention(work, SHRED, ARCHIVE).round()
    assert work.asked == [SHRED, SHRED]
    assert (work.rounds, work.rests) == (1, 1)


async def test_a_busy_database_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a batch that took long, the rest waits for the next round."""
    monkeypatch.setattr(rules, "BUSY_SECONDS", 0.01)
    work = Work({SHRED: [BATCH_ROWS] * 9})
    work.seconds = 0.02
    await retention(work, SHRED, ARCHIVE).round()
    assert work.asked == [SHRED]


async def test_a_round_has_an_end() -> None:
    """However much there is, a task gives way to the next after so many batches."""
    work = Work({SHRED: [BATCH_ROWS] * 10_000})
    await retention(work, SHRED, ARCHIVE).round()
    assert work.asked == [SHRED] * rules.ROUND_BATCHES + [ARCHIVE]


async def test_it_goes_on_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away costs a round, which does not count as ended; never the worker."""
    monkeypatch.setattr(rules, "ROUND_SECONDS", 0.001)
    work = Work({SHRED: [LedgerUnavailable("away"), LedgerUnavailable("away"), 5]})
    async with asyncio.timeout(10):
        task = asyncio.create_task(retention(work, SHRED).run())
        while not work.rounds:  # noqa: ASYNC110 - the work says so, not an event
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert work.rows[Chore.SHRED] == 5
    assert work.asked[:3] == [SHRED, SHRED, SHRED]
    assert work.rests >= 3


async def test_a_cancellation_ends_it_at_once() -> None:
    """In the midst of a batch it ends, and lets go of its connection."""
    work = Work({})
    work.seconds = 60
    task = asyncio.create_task(retention(work, SHRED).round())
    await asyncio.sleep(0.01)
    task.cancel()
    async with asyncio.timeout(1):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (work.rests, work.rounds) == (1, 0)
