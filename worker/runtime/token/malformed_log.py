"""Says which messages can't be read: strangers may send any number of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from worker.core.records import Malformed

log: Final = structlog.get_logger()

_PERIOD_SECONDS: Final = 60.0


class MalformedLog:
    """A line for the first of a kind, and then one a minute with how many there were since."""

    def __init__(self) -> None:
        self._since: Counter[str] = Counter()
        self._last: dict[str, Malformed] = {}
        self._quiet: set[str] = set()

    def note(self, malformed: Malformed) -> None:
        """A message of this kind was recorded."""
        code = malformed.code
        self._since[code] += 1
        self._last[code] = malformed
        if code not in self._quiet:
            self._quiet.add(code)
            self._say(code)

    def _say(self, code: str) -> None:
        count = self._since.pop(code, 0)
        if not count:
            self._quiet.discard(code)
            return
        message_id = self._last.pop(code).message_id
        log.warning("message_malformed", code=code, messages=count, message_id=message_id)
        asyncio.get_running_loop().call_later(_PERIOD_SECONDS, self._say, code)
