"""Reports what publishers should not send, and what is done all the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.ports import Telemetry

log: Final = structlog.get_logger()

_SOON_SECONDS: Final = 1.0  # so that the first line counts more than one message
_PERIOD_SECONDS: Final = 60.0
_NO_REPLY: Final = (
    "these publishers get no reply: reply_to must begin with `resolution.reply.`, and a queue of "
    "theirs be bound to resolution.answers under that key; direct reply-to "
    "(amq.rabbitmq.reply-to) is not answered"
)
_EXPIRED: Final = (
    "they are put back into their lane while the token lives. Publishers must set no `expiration`, "
    "and no policy a `message-ttl` on our queues: see `resolution-worker check`"
)
_DROPPED: Final = (
    "what reached resolution.parked is handled, what did not is lost: end the policy that drops "
    "messages (`max-length` with `drop-head`); see `resolution-worker check`"
)
_UNHEARD: Final = (
    "no queue was bound to resolution.answers under their reply_to when the answer came, so nobody "
    "got it; the tokens are settled all the same. These publishers must bind their queue before "
    "they publish, under this very key, and keep it for as long as they wait; whoever needs late "
    "answers too keeps a durable queue, bound under `resolution.reply.<caller>.#`"
)
TOLD: Final[Mapping[str, tuple[str, str]]] = {
    "reply_to": ("reply_to_ignored", _NO_REPLY),
    "reply_unroutable": ("reply_unroutable", _UNHEARD),
    "expiration": ("expired_in_lane", _EXPIRED),
    "overflow": ("dropped_from_lane", _DROPPED),
}
"""Of those that are logged, the event and what to do about it."""


class OddityLog:
    """Counts each, and for those whose sender or operator must be told logs a line a minute."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._counts: Counter[str] = Counter()
        self._last: dict[str, Mapping[str, str]] = {}
        self._said_at: dict[str, float] = {}

    def note(self, what: str, message_id: str, caller: str) -> None:
        """Something odd about a message.

        Args:
            what: As the metrics name it.
            message_id: Of the message; nothing of a token.
            caller: Whose message it is; empty if unknown.
        """
        self._telemetry.odd(what)
        if what not in TOLD:
            return
        if not self._counts[what]:
            loop = asyncio.get_running_loop()
            again = self._said_at.get(what, float("-inf")) + _PERIOD_SECONDS
            loop.call_at(max(loop.time() + _SOON_SECONDS, again), self._say, what)
        self._counts[what] += 1
        self._last[what] = {"message_id": message_id, "caller": caller or "unknown"}

    def _say(self, what: str) -> None:
        self._said_at[what] = asyncio.get_running_loop().time()
        event, remedy = TOLD[what]
        log.warning(event, messages=self._counts.pop(what), **self._last.pop(what), remedy=remedy)
