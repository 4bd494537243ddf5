"""A count of what is pending, which can be waited for to reach zero."""

from __future__ import annotations

import asyncio


class Pending:
    """A count that can be waited for to reach zero."""

    def __init__(self) -> None:
        self.count = 0
        self._none = asyncio.Event()
        self._none.set()

    def add(self, change: int) -> None:
        """Count so many more, or fewer."""
        self.count += change
        if self.count:
            self._none.clear()
        else:
            self._none.set()

    async def none(self) -> None:
        """Wait until nothing is pending."""
        await self._none.wait()
