"""Whether the broker holds publishers back, and time-outs that are suspended meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from worker.adapters.rabbitmq.library import watch_blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiormq.connection import Connection


def alarm_words(reason: str) -> str:
    """What an alarm means and what to do about it."""
    return (
        f"the broker is under alarm ({reason or 'for no reason it names'}): nothing can be "
        "published until that is over; see `rabbitmq-diagnostics alarms`"
    )


def watch_alarm(connection: Connection, report: Callable[[str | None], None]) -> None:
    """Call `report` with the reason when the broker blocks a connection, and None after it.

    Args:
        connection: One that is open, and over which nothing was published yet.
        report: Must not raise.
    """
    watch_blocked(connection, lambda reason: report(alarm_words(reason)), lambda: report(None))


class Bounds:
    """Time-outs that are suspended together, for an alarm say.

    Attributes:
        held: Whether they are suspended.
    """

    def __init__(self) -> None:
        self.held = False
        self._running: dict[asyncio.Timeout, float] = {}

    @asynccontextmanager
    async def of(self, seconds: float) -> AsyncIterator[None]:
        """Bound a block; raises `TimeoutError` as `asyncio.timeout` does."""
        async with asyncio.timeout(None if self.held else seconds) as bound:
            self._running[bound] = seconds
            try:
                yield
            finally:
                del self._running[bound]

    def hold(self, *, held: bool) -> None:
        """Suspend all of them, or let each begin anew."""
        self.held = held
        now = asyncio.get_running_loop().time()
        for bound, seconds in self._running.items():
            if not bound.expired():
                bound.reschedule(None if held else now + seconds)
