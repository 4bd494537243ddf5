"""Runs the way of a token, and drains it at the end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.core import holds
from worker.runtime.token.give_back import UNCALLED
from worker.runtime.token.in_flight import Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from worker.core.records import Lane
    from worker.ports import Delivery
    from worker.runtime.clock import Clock
    from worker.runtime.gate import Gate
    from worker.runtime.rate.lease_keeper import LeaseKeeper
    from worker.runtime.token.acks import AckAfterConfirm
    from worker.runtime.token.breaker import Breaker
    from worker.runtime.token.demotion import Demoter
    from worker.runtime.token.event_outbox import EventOutbox
    from worker.runtime.token.give_back import GiveBack
    from worker.runtime.token.in_flight import InFlight
    from worker.runtime.token.intake import Intake
    from worker.runtime.token.pool import Pool
    from worker.runtime.token.writer import Writer

_GIVING_BACK_SHARE: Final = 0.2  # of the drain's time, kept for giving back what did not finish
_LEAVING_SHARE: Final = 0.05
_SHUTTING_DOWN: Final = "shutting down"


@dataclass(slots=True, eq=False)
class Pipeline:
    """Everything between a delivery and its ack, put together in `worker.runtime.replica`."""

    intake: Intake
    pool: Pool
    writer: Writer
    acks: AckAfterConfirm
    events: EventOutbox
    breaker: Breaker
    demoter: Demoter
    give_back: GiveBack
    lease_keeper: LeaseKeeper
    in_flight: InFlight
    gate: Gate
    clock: Clock
    _calls: asyncio.Task[None] | None = None
    _leasing: asyncio.Task[None] | None = None
    _drained: asyncio.Event = field(default_factory=asyncio.Event)

    def deliver(self, delivery: Delivery) -> None:
        """Take a delivery from the broker."""
        self.intake.deliver(delivery)

    def drop_dead(self) -> None:
        """Forget what the broker hands out anew: its channel is gone, or it was returned."""
        self.in_flight.drop_dead()
        self.writer.drop_unwanted()

    def oldest_seconds(self, lane: Lane) -> float:
        """Age of the oldest token of a lane in hand; 0 without any."""
        received = [
            waiter.submission.received_at
            for token in self.in_flight
            for waiter in token.waiters
            if waiter.lane is lane
        ]
        return (self.clock.now() - min(received)).total_seconds() if received else 0.0

    async def run(self) -> None:
        """Work until drained or cancelled."""
        async with asyncio.TaskGroup() as group:
            self._calls = group.create_task(self.pool.run(), name="pool")
            self._leasing = group.create_task(self.lease_keeper.run(), name="lease")
            tasks = [
                self._calls,
                self._leasing,
                group.create_task(self.intake.run(), name="intake"),
                group.create_task(self.writer.run(), name="writer"),
                group.create_task(self.acks.run(), name="acks"),
                group.create_task(self.events.run(), name="events"),
                group.create_task(self.breaker.run(), name="breaker"),
                group.create_task(self.demoter.run(), name="demotion"),
                group.create_task(self.give_back.run(), name="give back"),
            ]
            await self._drained.wait()
            for task in tasks:
                task.cancel()

    async def drain(self, seconds: float) -> None:
        """Finish what is in flight, give the rest back, and end `run`; all within the bound.

        To be called once nothing is delivered any more.

        Args:
            seconds: The bound. What could be neither finished nor given back by then stays
                unacked, and the broker hands it out anew.
        """
        self.gate.hold(holds.DRAIN, "the worker is shutting down")
        if self._leasing is not None:
            self._leasing.cancel()
        self.intake.join_rest()
        self.give_back.all_at(UNCALLED, _SHUTTING_DOWN)
        if not await _within(seconds * (1 - _GIVING_BACK_SHARE), self._finish(seconds)):
            if self._calls is not None:
                self._calls.cancel()
                await asyncio.wait([self._calls])
            self.give_back.all_at(tuple(Stage), _SHUTTING_DOWN)
            await _within(seconds * _GIVING_BACK_SHARE, self.acks.pending.none())
        self._drained.set()

    async def _finish(self, seconds: float) -> None:
        await _within(seconds * _LEAVING_SHARE, self.lease_keeper.leave())
        await self.pool.calling.none()
        self.give_back.all_at(UNCALLED, _SHUTTING_DOWN)  # what would have been called for once more
        await self.writer.pending.none()
        await self.acks.pending.none()


async def _within(seconds: float, finishing: Awaitable[None]) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await finishing
            return True
    return False
