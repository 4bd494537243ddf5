"""The background work of retention: one worker of the fleet at a time, gently."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from worker.core.dead_letters import retention
from worker.core.exceptions import LedgerUnavailable, RowsRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.core.dead_letters.retention import Chore, Task

log: Final = structlog.get_logger()


class Keeper(Protocol):
    """Where what is kept is kept."""

    async def batch(self, task: Task) -> int | None:
        """Do a batch of a task.

        Returns:
            How many rows it was, `retention.BATCH_ROWS` if there may be more; None while another
            worker is at it.

        Raises:
            LedgerUnavailable: Nothing was done, or it is unknown whether it was.
            RowsRefused: Nothing was done.
        """
        ...

    async def rest(self) -> None:
        """Let go of what was only needed for the batches."""
        ...


class Counts(Protocol):
    """Counts what was done."""

    def retained(self, chore: Chore, rows: int) -> None:
        """So many rows were dealt with."""
        ...

    def round_ended(self) -> None:
        """A round ended as it should: done, or another worker is at it."""
        ...


class Retention:
    """Goes through all tasks about once a minute, until it is cancelled.

    A cancellation leaves nothing half done: a batch is one transaction.

    Args:
        keeper: Does a batch.
        tasks: In this order.
        counts: Counts what was done.
        draw: Uniform in [0, 1), asked anew for each wait.
    """

    def __init__(
        self,
        keeper: Keeper,
        tasks: Sequence[Task],
        counts: Counts,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._keeper = keeper
        self._tasks = tasks
        self._counts = counts
        self._draw = draw

    async def run(self) -> None:
        """Work for ever. Whatever the database does, the worker goes on without this."""
        while True:
            await asyncio.sleep(retention.wait(self._draw()))
            try:
                await self.round()
            except (LedgerUnavailable, RowsRefused) as error:
                log.warning("retention_failed", reason=str(error))

    async def round(self) -> None:
        """Go through all tasks once, or until the database is busy or another worker is at it.

        Raises:
            LedgerUnavailable: The database can't be asked.
            RowsRefused: The database takes no offence at the connection, but at what it is asked.
        """
        try:
            for task in self._tasks:
                if not await self._do(task):
                    break
        finally:
            await self._keeper.rest()
        self._counts.round_ended()

    async def _do(self, task: Task) -> bool:
        """Do a task to its end; False where the rest of the round is better left for later."""
        loop = asyncio.get_running_loop()
        total = 0
        try:
            for _ in range(retention.ROUND_BATCHES):
                began = loop.time()
                rows = await self._keeper.batch(task)
                took = loop.time() - began
                if rows is None:
                    return False
                total += rows
                self._counts.retained(task.chore, rows)
                if took > retention.BUSY_SECONDS:
                    return False
                if rows < retention.BATCH_ROWS:
                    return True
                await asyncio.sleep(retention.pause(took))
        finally:
            if total:
                log.info("retention", action=task.chore.value, rows=total)
        return True
