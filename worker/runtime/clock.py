"""The database's clock on this process's event loop; see `worker.core.clock`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.core.clock import UNREADY_SECONDS, DatabaseClock, skew_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.clock import Reading


def _local() -> datetime:
    return datetime.now(UTC)


class Clock:
    """What time it is for everything that is stored.

    Args:
        aws: What AWS's clock said last, or None.
        local: This machine's clock.
    """

    def __init__(
        self, aws: Callable[[], Reading | None], local: Callable[[], datetime] = _local
    ) -> None:
        self._aws = aws
        self._local = local
        self._database = DatabaseClock()

    def measured(self, reading: Reading) -> None:
        """The database's clock was read."""
        self._database.measured(reading)

    def now(self) -> datetime:
        """The database's time; this machine's before it was read."""
        reading = self._database.reading
        return self._local() if reading is None else reading.on(_loop_time())

    @property
    def skew_seconds(self) -> float:
        """By how much this machine's clock is ahead of the database's."""
        return self._database.skew_seconds(_loop_time(), self._local())

    @property
    def ages_count(self) -> bool:
        """Whether a token may be settled for its age."""
        return self._database.ages_count(_loop_time(), self._local(), self._aws())

    @property
    def fault(self) -> str | None:
        """Why this machine's clock keeps the replica from being ready, or None."""
        seconds = self.skew_seconds
        if abs(seconds) <= UNREADY_SECONDS:
            return None
        aws, local = self._aws(), self._local()
        ahead = None if aws is None else (local - aws.on(_loop_time())).total_seconds()
        return skew_words(seconds, ahead)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
