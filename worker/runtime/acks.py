"""The only place that acks: what has to be said about a message is confirmed first."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import backoff
from worker.runtime.waiting import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.core.outgoing import Outgoing
    from worker.ports import Courier, Delivery, NotConfirmed

log: Final = structlog.get_logger()

_BATCH: Final = 100
_BATCHES_AT_ONCE: Final = 4
_PATIENCE_SECONDS: Final = 60.0
_AGAIN: Final = backoff.FullJitter(base_seconds=0.5, cap_seconds=5.0)


@dataclass(slots=True, eq=False)
class Parcel:
    """Messages to be confirmed and, after all of them, a delivery to be acked.

    Attributes:
        done: Called once it is acked.
        refused: If given, the parcel is tried only once, and this is called when that failed: the
            delivery is then the sender's again.
        otherwise: If given, what is sent instead once the messages were refused for a minute: a
            queue that takes nothing must not keep the delivery here for good.
        since: When it was put (loop time).
    """

    delivery: Delivery
    messages: tuple[Outgoing, ...]
    done: Callable[[], None]
    refused: Callable[[NotConfirmed], None] | None = None
    otherwise: tuple[Outgoing, ...] = ()
    since: float = 0.0
    failures: int = 0


class Outbox:
    """Publishes parcels in batches and acks what is confirmed.

    A parcel that is not confirmed is tried again for as long as its delivery is alive, unless its
    sender wants it back; after that the broker hands the message out anew, and its next handling
    says what has to be said.
    """

    def __init__(self, courier: Courier) -> None:
        self._courier = courier
        self._parcels: deque[Parcel] = deque()
        self._some = asyncio.Event()
        self.pending = Pending()

    def put(
        self,
        delivery: Delivery,
        messages: tuple[Outgoing, ...],
        done: Callable[[], None] = lambda: None,
        refused: Callable[[NotConfirmed], None] | None = None,
        otherwise: tuple[Outgoing, ...] = (),
    ) -> None:
        """Say this about a delivery, then ack it, then call `done`; see `Parcel`."""
        self.pending.add(1)
        now = asyncio.get_running_loop().time()
        self._push(Parcel(delivery, messages, done, refused, otherwise, now))

    def _push(self, parcel: Parcel) -> None:
        self._parcels.append(parcel)
        self._some.set()

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_BATCHES_AT_ONCE):
                group.create_task(self._send_batches())

    async def _send_batches(self) -> None:
        while True:
            while not self._parcels:
                self._some.clear()
                await self._some.wait()
            size = min(_BATCH, len(self._parcels))
            await self._send([self._parcels.popleft() for _ in range(size)])

    async def _send(self, waiting: Sequence[Parcel]) -> None:
        parcels = [parcel for parcel in waiting if parcel.delivery.alive]
        self.pending.add(len(parcels) - len(waiting))
        messages = [message for parcel in parcels for message in parcel.messages]
        failures = iter(await self._courier.send(messages) if messages else ())
        unconfirmed: list[NotConfirmed] = []
        for parcel in parcels:
            failed = [failure for _ in parcel.messages if (failure := next(failures))]
            if failed and parcel.refused:
                parcel.refused(failed[0])  # first, for it may put another parcel
                self.pending.add(-1)
            elif failed:
                self._again(parcel)
                unconfirmed += failed[:1]
            else:
                await self._ack(parcel)
        if unconfirmed:
            reason = str(unconfirmed[0])
            log.warning("publish_not_confirmed", parcels=len(unconfirmed), reason=reason)

    async def _ack(self, parcel: Parcel) -> None:
        if parcel.delivery.alive:
            await parcel.delivery.ack()
            parcel.done()
        self.pending.add(-1)

    def _again(self, parcel: Parcel) -> None:
        loop = asyncio.get_running_loop()
        parcel.failures += 1
        if parcel.otherwise and loop.time() - parcel.since > _PATIENCE_SECONDS:
            parcel.messages, parcel.otherwise = parcel.otherwise, ()
        delay = _AGAIN.delay(parcel.failures, random.random())  # noqa: S311 - spread, no secret
        loop.call_later(delay, self._push, parcel)
