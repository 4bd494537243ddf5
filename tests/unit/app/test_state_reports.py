"""When callers are told how calls stand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness import contract
from tests.fakes.clock import leaping
from worker.app.state_reports import StateReports
from worker.core.token.calls_state import SHUTTING_DOWN, CallsState
from worker.core.token.wire import Calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUNNING = CallsState(Calls.RUNNING, None, 10.0, 3, 0.5)


class Channel:
    """Where reports go, at which times; each takes a while."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, dict[str, Any]]] = []
        self.fault: str | None = None
        self.takes = 0.0

    async def send(self, body: bytes) -> None:
        """Take a report."""
        self.sent.append((asyncio.get_running_loop().time(), contract.state(body)))
        await asyncio.sleep(self.takes)


class Desk:
    """Reports at work, of a state that changes by hand."""

    def __init__(self) -> None:
        self.state = RUNNING
        self.channel = Channel()
        self.reports = StateReports(lambda: self.state, self.channel)

    @property
    def calls(self) -> list[str]:
        """What was said of the calls so far."""
        return [report["calls"] for _, report in self.channel.sent]


@asynccontextmanager
async def reporting() -> AsyncIterator[Desk]:
    """Reports that run until the block ends."""
    desk = Desk()
    running = asyncio.create_task(desk.reports.run())
    try:
        yield desk
    finally:
        running.cancel()
        await asyncio.wait([running])


@leaping
async def test_a_report_comes_each_second() -> None:
    """The first comes at once, and each of the others a second after the one before it."""
    async with reporting() as desk:
        await asyncio.sleep(60)
    times = [at for at, _ in desk.channel.sent]
    assert times[0] == 0
    assert 60 <= len(times) <= 61
    assert all(0.8 <= later - at <= 1.2 for at, later in pairwise(times))


@leaping
async def test_a_slow_broker_does_not_spread_the_reports() -> None:
    """What sending takes counts towards the second."""
    async with reporting() as desk:
        desk.channel.takes = 0.9
        await asyncio.sleep(10)
    times = [at for at, _ in desk.channel.sent]
    assert all(later - at <= 1.2 for at, later in pairwise(times))


@leaping
async def test_a_change_of_the_calls_is_told_at_once() -> None:
    """That calls stop or go on is told at once, that figures change with the next report."""
    async with reporting() as desk:
        await asyncio.sleep(0.45)
        desk.state = replace(RUNNING, waiting=4)
        await asyncio.sleep(0.2)
        assert len(desk.channel.sent) == 1
        desk.state = CallsState(Calls.PAUSED, "a migration")
        await asyncio.sleep(0.2)
        assert desk.calls == ["running", "paused"]
        await asyncio.sleep(1.0)
        assert desk.calls == ["running", "paused", "paused"]


@leaping
async def test_calls_that_come_and_go_cost_a_bounded_number_of_reports() -> None:
    """However often calls stop and go on, there are no more than five reports a second."""
    async with reporting() as desk:
        for _ in range(1000):
            await asyncio.sleep(0.01)
            desk.state = replace(RUNNING, calls=Calls.STOPPED)
            await asyncio.sleep(0.01)
            desk.state = RUNNING
    assert len(desk.channel.sent) <= 20 * 5 + 2


@leaping
async def test_the_last_report_says_stopped() -> None:
    """Who leaves says once that it makes no more calls, whatever held them before."""
    async with reporting() as desk:
        desk.state = CallsState(Calls.PAUSED, "a migration", waiting=7)
        await asyncio.sleep(0.5)
        await desk.reports.leave()
    _, last = desk.channel.sent[-1]
    assert (last["calls"], last["reason"], last["waiting"]) == ("stopped", SHUTTING_DOWN, 7)


@leaping
async def test_leaving_waits_for_no_broker() -> None:
    """A broker that does not take the last report keeps nobody from leaving."""
    desk = Desk()
    desk.channel.takes = 60.0
    async with asyncio.timeout(2):
        await desk.reports.leave()
