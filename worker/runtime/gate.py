"""What holds calls back: each reason by its name, until none is left."""

from __future__ import annotations

import asyncio


class Gate:
    """Open while there is no reason to hold."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._open = asyncio.Event()
        self._open.set()

    @property
    def reasons(self) -> dict[str, str]:
        """Why it is shut, by who shut it."""
        return dict(self._reasons)

    def hold(self, who: str, why: str) -> None:
        """Hold calls for a reason of `who`'s."""
        self._reasons[who] = why
        self._open.clear()

    def release(self, who: str) -> None:
        """Take `who`'s reason away."""
        self._reasons.pop(who, None)
        if not self._reasons:
            self._open.set()

    async def wait_open(self) -> None:
        """Wait until it is open."""
        await self._open.wait()
