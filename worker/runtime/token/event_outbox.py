"""Events that a queue of an observer's refuses: into a table, and from there to the broker.

The broker does not say which of several queues has refused an event, and the others have got it.
So while events of one routing key wait in the table, no replica publishes others of that key: they
join them, and one replica at a time tries the oldest.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import backoff, batching
from worker.core.exceptions import LedgerUnavailable, Refused, RowsRefused, Unsendable
from worker.core.token.answers import OutboxPace
from worker.core.token.outgoing import Kind
from worker.runtime.token.batch_queue import BatchQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.core.token.outgoing import Outgoing
    from worker.ports import ConfirmedPublisher, Delivery, Outbox, PublishFailure, PublishResult
    from worker.runtime.token.answer_log import AnswerLog

log: Final = structlog.get_logger()

_OTHERS_TURN_SECONDS: Final = 5.0
_EMPTY_SECONDS: Final = 1.0  # by then a lease says that the key is free again
_NO_ROOM: Final = "the outbox is full"


@dataclass(slots=True, eq=False)
class _Entry:
    """An event to be stored, and whom it keeps waiting."""

    message: Outgoing
    delivery: Delivery
    stored: Callable[[], None]


@dataclass(slots=True)
class _Own:
    """What this process knows of a key that refuses: entries not yet stored, and the last time."""

    entries: int = 0
    stored_at: float = float("-inf")


class EventOutbox:
    """Stores refused events, and sends what is stored when it is this replica's turn.

    Attributes:
        keys: Routing keys whose events go into the table: those that the last lease named, and
            those that this process knows to be refused since.
    """

    def __init__(self, outbox: Outbox, publisher: ConfirmedPublisher, answers: AnswerLog) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._answers = answers
        self._entries: BatchQueue[_Entry] = BatchQueue()
        self._leased: frozenset[str] = frozenset()
        self._own: dict[str, _Own] = {}
        self._paces: dict[str, OutboxPace] = {}
        self._sent: list[int] = []
        self._changed = asyncio.Event()
        self.keys: frozenset[str] = frozenset()

    def holds(self, message: Outgoing) -> bool:
        """Whether a message is an event that must not go past those in the table."""
        return message.kind is Kind.EVENT and message.routing_key in self.keys

    def put(self, message: Outgoing, delivery: Delivery, stored: Callable[[], None]) -> None:
        """Store an event, however long the database is away, and call `stored`.

        Until it is stored, and a lease names its key, all events of the key go the same way. That
        of a delivery that dies is left out: the message comes again, and its event with it.
        """
        self._own.setdefault(message.routing_key, _Own()).entries += 1
        self._know()
        self._entries.put(_Entry(message, delivery, stored))

    def follow(self, keys: frozenset[str], asked_at: float) -> None:
        """A lease names the keys of the events in the table, as it was after `asked_at`."""
        self._leased = keys
        self._own = {
            key: own for key, own in self._own.items() if own.entries or own.stored_at >= asked_at
        }
        self._know()

    def _know(self) -> None:
        keys = self._leased | self._own.keys()
        if keys != self.keys:
            self.keys = keys
            self._changed.set()

    async def count(self) -> int:
        """How many events wait in the table; the table is not asked where none is known.

        Raises:
            LedgerUnavailable: They could not be counted.
        """
        return await self._outbox.count() if self.keys else 0

    async def run(self) -> None:
        """Store and send until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._store_batches())
            group.create_task(self._send_batches())

    # --- into the table ---

    async def _store_batches(self) -> None:
        while True:
            await self._store(await self._entries.batch())

    async def _store(self, entries: Sequence[_Entry]) -> None:
        """Store a batch whole or, if a row of it is poison, in halves."""
        failures = 0
        parts: list[Sequence[_Entry]] = [entries]
        while parts:
            part = self._alive(parts.pop())
            try:
                stored = await self._outbox.add([entry.message for entry in part]) if part else 0
            except LedgerUnavailable as error:
                failures += 1
                parts.append(part)
                await self._unavailable(error, failures)
                continue
            except RowsRefused as error:
                if len(part) > 1:
                    parts += reversed(batching.halves(part))
                    continue
                log.error("row_refused", reason=str(error))
                stored = 0
            for entry in part[stored:]:
                self._answers.dropped(entry.message, _NO_ROOM)
            self._finish(part)

    @staticmethod
    async def _unavailable(error: LedgerUnavailable, failures: int) -> None:
        delay = backoff.RECONNECT.delay(failures, random.random())  # noqa: S311 - spread
        seconds = round(delay, 2)
        log.warning("outbox_unavailable", reason=str(error), again_in_seconds=seconds)
        await asyncio.sleep(delay)

    def _alive(self, entries: Sequence[_Entry]) -> Sequence[_Entry]:
        """Those whose delivery lives; the others are done with."""
        alive = [entry for entry in entries if entry.delivery.alive]
        self._finish(entry for entry in entries if not entry.delivery.alive)
        return alive

    def _finish(self, entries: Iterable[_Entry]) -> None:
        now = asyncio.get_running_loop().time()
        for entry in entries:
            own = self._own[entry.message.routing_key]
            own.entries -= 1
            own.stored_at = now
            entry.stored()

    # --- out of the table ---

    async def _send_batches(self) -> None:
        while True:
            self._changed.clear()
            seconds = await self._rounds() if self.keys else None
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()

    async def _rounds(self) -> float:
        """Try the keys that are due; seconds until the next is, or the turn may be free."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._paces = {
            key: self._paces.get(key) or OutboxPace.begin(now) for key in sorted(self.keys)
        }
        for key, pace in self._paces.items():
            if pace.due <= now and not await self._round(key, pace):
                self._paces = {}
                return backoff.equal_jitter(_OTHERS_TURN_SECONDS, random.random())  # noqa: S311 - spread
        return max(0.0, min(pace.due for pace in self._paces.values()) - loop.time())

    async def _round(self, key: str, pace: OutboxPace) -> bool:
        """Try the oldest events of a key; False if another replica has the turn."""
        loop = asyncio.get_running_loop()
        try:
            turn = await self._outbox.take(key, pace.size, self._sent)
        except LedgerUnavailable as error:
            log.warning("outbox_unavailable", reason=str(error))
            return False
        self._sent = []
        if turn is None:
            return False
        if turn.expired:
            self._answers.expired(key, turn.expired)
        if not turn.events:
            pace.due = loop.time() + _EMPTY_SECONDS
            return True
        faults = await self._publish([message for _, message in turn.events])
        for (number, message), fault in zip(turn.events, faults, strict=True):
            if fault is None or isinstance(fault, Unsendable):
                self._sent.append(number)
            if isinstance(fault, Unsendable):
                self._answers.dropped(message, fault)
            elif isinstance(fault, Refused):
                self._answers.refused(message, fault)
        self._note(pace, faults, loop.time())
        return True

    @staticmethod
    def _note(pace: OutboxPace, faults: Sequence[PublishFailure | None], now: float) -> None:
        kept = [fault for fault in faults if fault and not isinstance(fault, Unsendable)]
        if any(isinstance(fault, Refused) for fault in kept):
            pace.refused(now, len(faults) - len(kept))
        elif kept:
            pace.failed(now)
        else:
            pace.confirmed(now)

    async def _publish(self, messages: Sequence[Outgoing]) -> list[PublishFailure | None]:
        """Publish a batch, and wait for what becomes of each."""
        results: Sequence[PublishResult] = await self._publisher.send(messages)
        late = [result for result in results if isinstance(result, asyncio.Future)]
        if late:
            await asyncio.wait(late)
        return [
            result.result() if isinstance(result, asyncio.Future) else result for result in results
        ]
