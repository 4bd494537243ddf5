"""The only place that acks: what has to be said about a message is confirmed first."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import backoff
from worker.core.exceptions import Refused, Unanswered, Unroutable, Unsendable
from worker.core.token.answers import RefusedReplies
from worker.core.token.outgoing import Kind
from worker.runtime.pending import Pending

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.core.token.outgoing import Outgoing
    from worker.ports import ConfirmedPublisher, Delivery, PublishFailure
    from worker.runtime.token.answer_log import AnswerLog
    from worker.runtime.token.event_outbox import EventOutbox

log: Final = structlog.get_logger()

_BATCH: Final = 128  # messages, which is as many as the publisher sends at once
_BATCHES_AT_ONCE: Final = 4
_PATIENCE_SECONDS: Final = 60.0
_SILENT: Final = Unanswered("its queue neither takes nor refuses replies")
_AGAIN: Final = backoff.FullJitter(base_seconds=0.5, cap_seconds=5.0)


@dataclass(slots=True, eq=False)
class PendingAck:
    """A delivery to be acked once each message about it is confirmed, or taken care of.

    Attributes:
        left: How many of the messages are not confirmed and not taken care of yet.
        done: Called once it is acked.
        refused: If given, its one message is tried only once, and this is called when that failed:
            the delivery is then the sender's again.
        otherwise: If given, what is sent instead once its one message was refused for a minute: a
            queue that takes nothing must not keep the delivery here for good.
        since: When `put` was called (loop time).
    """

    delivery: Delivery
    left: int
    done: Callable[[], None]
    refused: Callable[[PublishFailure], None] | None
    otherwise: Outgoing | None
    since: float


@dataclass(slots=True, eq=False)
class _Unconfirmed:
    """One message to be confirmed, and how often it was not."""

    message: Outgoing
    ack: PendingAck
    failures: int = 0


class AckAfterConfirm:
    """Publishes in batches, and acks a delivery once all that is said about it is confirmed.

    Each message is confirmed for itself, and never sent again once it is. A move that is not
    confirmed is tried again for as long as its delivery is alive, unless its sender wants it back;
    after that the broker hands the message out anew, and its next handling says what has to be
    said. So is an answer when the connection was lost; one that is *refused* delays its delivery
    for some seconds at most (`worker.core.token.answers`), and a reply for which no queue is bound
    not at all.
    """

    def __init__(
        self, publisher: ConfirmedPublisher, events: EventOutbox, answers: AnswerLog
    ) -> None:
        self._publisher = publisher
        self._events = events
        self._answers = answers
        self._replies = RefusedReplies()
        self._unconfirmed: deque[_Unconfirmed] = deque()
        self._confirmed: deque[PendingAck] = deque()
        self._some = asyncio.Event()
        self._unreported: list[PublishFailure] = []
        self.pending = Pending()

    def put(
        self,
        delivery: Delivery,
        messages: tuple[Outgoing, ...],
        done: Callable[[], None] = lambda: None,
        refused: Callable[[PublishFailure], None] | None = None,
        otherwise: Outgoing | None = None,
    ) -> None:
        """Say this about a delivery, then ack it, then call `done`; see `PendingAck`."""
        self.pending.add(1)
        now = asyncio.get_running_loop().time()
        ack = PendingAck(delivery, len(messages), done, refused, otherwise, now)
        if messages:
            self._unconfirmed.extend([_Unconfirmed(message, ack) for message in messages])
        else:
            self._confirmed.append(ack)
        self._some.set()

    async def run(self) -> None:
        """Send and ack until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_BATCHES_AT_ONCE):
                group.create_task(self._send_batches())

    async def _send_batches(self) -> None:
        while True:
            while not (self._unconfirmed or self._confirmed):
                self._some.clear()
                await self._some.wait()
            size = min(_BATCH, len(self._unconfirmed))
            batch = [self._unconfirmed.popleft() for _ in range(size)]
            if sending := [one for one in batch if self._goes_out(one)]:
                await self._send(sending)
            while self._confirmed:
                self._ack(self._confirmed.popleft())

    def _goes_out(self, one: _Unconfirmed) -> bool:
        """Whether a message is to be published; what is not is taken care of."""
        if not one.ack.delivery.alive:
            self._settle(one)
        elif len(self._replies) and not self._worth_a_try(one.message):
            self._drop(one, _SILENT)
        elif self._events.keys and self._events.holds(one.message):
            self._to_outbox(one)
        else:
            return True
        return False

    def _worth_a_try(self, message: Outgoing) -> bool:
        now = asyncio.get_running_loop().time()
        key = message.routing_key
        return message.kind is not Kind.REPLY or self._replies.worth_a_try(key, now)

    async def _send(self, batch: list[_Unconfirmed]) -> None:
        results = await self._publisher.send([one.message for one in batch])
        for one, result in zip(batch, results, strict=True):
            if result is None:
                self._confirm(one)
            elif isinstance(result, asyncio.Future):
                result.add_done_callback(partial(self._late, one))
            else:
                self._fail(one, result)

    def _late(self, one: _Unconfirmed, result: asyncio.Future[PublishFailure | None]) -> None:
        fault = result.result()
        if fault is None:
            self._confirm(one)
        else:
            self._fail(one, fault)
        self._some.set()

    def _confirm(self, one: _Unconfirmed) -> None:
        if len(self._replies) and one.message.kind is Kind.REPLY:
            self._replies.confirmed(one.message.routing_key)
        self._settle(one)

    def _stored(self, one: _Unconfirmed) -> None:
        self._settle(one)
        self._some.set()

    def _settle(self, one: _Unconfirmed) -> None:
        """Nothing more is to be done about a message; with the last its delivery can be acked."""
        ack = one.ack
        ack.left -= 1
        if not ack.left:
            self._confirmed.append(ack)

    def _ack(self, ack: PendingAck) -> None:
        if ack.delivery.alive:
            ack.delivery.ack()
            ack.done()
        self.pending.add(-1)

    # --- what is not confirmed ---

    def _fail(self, one: _Unconfirmed, fault: PublishFailure) -> None:
        if one.ack.refused is not None:
            one.ack.refused(fault)  # first, for it may put another
            self.pending.add(-1)
            return
        kind = one.message.kind
        if kind is Kind.REPLY and isinstance(fault, Unroutable):
            self._answers.unheard(one.message)
            self._confirm(one)
        elif kind is Kind.MOVE or not isinstance(fault, Refused | Unsendable):
            self._again(one, fault)
        elif isinstance(fault, Unsendable):
            self._drop(one, fault)
        elif kind is Kind.EVENT:
            self._answers.refused(one.message, fault)
            self._to_outbox(one)
        else:
            self._reply_refused(one, fault)

    def _again(self, one: _Unconfirmed, fault: PublishFailure) -> None:
        loop = asyncio.get_running_loop()
        one.failures += 1
        ack = one.ack
        if ack.otherwise and loop.time() - ack.since > _PATIENCE_SECONDS:
            one.message, ack.otherwise = ack.otherwise, None
        delay = _AGAIN.delay(one.failures, random.random())  # noqa: S311 - spread, no secret
        loop.call_later(delay, self._push, one)
        if not self._unreported:
            loop.call_soon(self._report)
        self._unreported.append(fault)

    def _push(self, one: _Unconfirmed) -> None:
        self._unconfirmed.append(one)
        self._some.set()

    def _report(self) -> None:
        """Log in one line what was not confirmed."""
        faults, self._unreported = self._unreported, []
        log.warning("publish_not_confirmed", messages=len(faults), reason=str(faults[0]))

    def _reply_refused(self, one: _Unconfirmed, fault: PublishFailure) -> None:
        loop = asyncio.get_running_loop()
        one.failures += 1
        self._answers.refused(one.message, fault)
        key, draw = one.message.routing_key, random.random()  # noqa: S311 - spread
        wait: float | None = None
        if isinstance(fault, Unanswered):
            self._replies.silent(key, loop.time())
        else:
            wait = self._replies.refused(key, one.failures, loop.time(), draw)
        if wait is None:
            self._drop(one, fault)
        else:
            loop.call_later(wait, self._resume, one)

    def _resume(self, one: _Unconfirmed) -> None:
        self._replies.resumed(one.message.routing_key)
        self._push(one)

    def _drop(self, one: _Unconfirmed, fault: PublishFailure) -> None:
        """Give an answer up for good: its delivery does not wait for a queue that refuses it."""
        self._answers.dropped(one.message, fault)
        self._settle(one)

    def _to_outbox(self, one: _Unconfirmed) -> None:
        self._events.put(one.message, one.ack.delivery, partial(self._stored, one))
