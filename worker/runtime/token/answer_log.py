"""Reports answers that no queue takes: each is counted, and a line a minute at most is logged."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.token.outgoing import EVENTS, Kind
from worker.core.token.submissions import REPLY_PREFIX
from worker.runtime.token.oddity_log import OddityLog

if TYPE_CHECKING:
    from worker.core.token.outgoing import Outgoing
    from worker.ports import PublishFailure, Telemetry

log: Final = structlog.get_logger()

_SOON_SECONDS: Final = 1.0  # so that the first line counts more than one message
_PERIOD_SECONDS: Final = 60.0
_REMEDY: Final = (
    "a queue bound under this key is full, or broken: see who consumes it. Replies that it refuses "
    "are dropped after 5 s; events wait for a day, and are sent once it takes them"
)


class AnswerLog:
    """Tells of answers that were refused or dropped, however many keys and queues refuse them."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._oddities = OddityLog(telemetry)
        self._counts: Counter[str] = Counter()
        self._last: dict[str, str] = {}
        self._said_at = float("-inf")

    def refused(self, message: Outgoing, fault: PublishFailure) -> None:
        """The broker has refused an answer, for the first time or not."""
        self._telemetry.refused(message.kind)
        self._note(message.exchange, message.routing_key, str(fault), f"{message.kind}_refusals", 1)

    def unheard(self, message: Outgoing) -> None:
        """No queue is bound for a reply."""
        caller = message.routing_key.removeprefix(REPLY_PREFIX).partition(".")[0]
        self._oddities.note("reply_unroutable", message.message_id, caller)

    def dropped(self, message: Outgoing, reason: PublishFailure | str) -> None:
        """An answer was given up for good."""
        self._drop(message.kind, message.exchange, message.routing_key, str(reason), 1)

    def expired(self, routing_key: str, events: int) -> None:
        """So many events were given up for having waited too long."""
        self._drop(Kind.EVENT, EVENTS, routing_key, "they have waited for a day", events)

    def _drop(self, kind: Kind, exchange: str, routing_key: str, reason: str, count: int) -> None:
        self._telemetry.dropped(kind, count)
        self._note(exchange, routing_key, reason, f"{kind}_drops", count)

    def _note(self, exchange: str, routing_key: str, reason: str, what: str, count: int) -> None:
        loop = asyncio.get_running_loop()
        if not self._counts:
            due = max(loop.time() + _SOON_SECONDS, self._said_at + _PERIOD_SECONDS)
            loop.call_at(due, self._say)
        self._counts[what] += count
        self._last = {"exchange": exchange, "routing_key": routing_key, "reason": reason}

    def _say(self) -> None:
        self._said_at = asyncio.get_running_loop().time()
        log.warning("answers_refused", **self._last, **self._counts, remedy=_REMEDY)
        self._counts.clear()
