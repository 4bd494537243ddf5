"""Whether the broker holds publishers back: it says so to a connection that publishes.

aiormq keeps what it is told (`connection.blocked`, with the reason) to itself; its two handlers are
wrapped here, on the one connection that is watched.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiormq.connection import Connection
    from pamqp import commands as spec

_BLOCKED = "_Connection__handle_connection_blocked"
_UNBLOCKED = "_Connection__handle_connection_unblocked"


def alarm_words(reason: str) -> str:
    """What an alarm means and what to do about it."""
    return (
        f"the broker is under alarm ({reason or 'for no reason it names'}): nothing can be "
        "published until that is over; see `rabbitmq-diagnostics alarms`"
    )


def watch_alarm(connection: Connection, told: Callable[[str | None], None]) -> None:
    """Call `told` with the reason in words when the broker blocks a connection, None when it ends.

    Args:
        connection: One that is open, and over which nothing was published yet.
        told: Must not raise: it runs in the connection's reader.
    """
    blocked, unblocked = (getattr(connection, name, None) for name in (_BLOCKED, _UNBLOCKED))
    if blocked is None or unblocked is None:
        return  # a version of the library that names them otherwise: alarms are silence again

    async def on_blocked(frame: spec.Connection.Blocked) -> None:
        await blocked(frame)
        told(alarm_words(str(frame.reason)))

    async def on_unblocked(frame: Any) -> None:
        await unblocked(frame)
        told(None)

    setattr(connection, _BLOCKED, on_blocked)
    setattr(connection, _UNBLOCKED, on_unblocked)


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
