"""When systemd is told what, through a real socket."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from harness.service_manager import listening_manager
from harness.waiting import eventually
from worker.adapters.systemd import ServiceManager
from worker.app.service_reports import ServiceReports, sentence
from worker.core.token.calls_state import CallsState
from worker.core.token.wire import Calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness.service_manager import ListeningManager

RUNNING = CallsState(Calls.RUNNING, None)
WATCHDOG_SECONDS = 0.1


class Service:
    """A worker as systemd sees it, whose state changes by hand."""

    def __init__(self, systemd: ListeningManager, watchdog_seconds: float | None) -> None:
        self.systemd = systemd
        self.standstill: dict[str, str] = {}
        self.faults: dict[str, str] = {}
        self.state = RUNNING
        self.reports = ServiceReports(
            ServiceManager(systemd.address, watchdog_seconds),
            alive=lambda: self.standstill,
            faults=lambda: self.faults,
            state=lambda: self.state,
        )

    async def hears(self, line: str, times: int = 1) -> None:
        """Wait until systemd has heard this line so often."""
        await eventually(lambda: self.systemd.count(line) >= times, line)

    async def says(self, status: str) -> None:
        """Wait until this is the service's status."""
        await eventually(lambda: self.systemd.status == status, status)


@asynccontextmanager
async def serving(
    folder: Path, watchdog_seconds: float | None = WATCHDOG_SECONDS, **faults: str
) -> AsyncIterator[Service]:
    """Reports that run until the block ends."""
    with listening_manager(folder) as systemd:
        service = Service(systemd, watchdog_seconds)
        service.faults.update(faults)
        running = asyncio.create_task(service.reports.run())
        try:
            yield service
        finally:
            running.cancel()
            await asyncio.wait([running])
            service.reports._manager.close()


async def test_a_start_takes_as_long_as_its_servers_are_away(tmp_path: Path) -> None:
    """Until it is ready it asks for more time and names what is missing; then it is ready, once."""
    more_time = "EXTEND_TIMEOUT_USEC=30000000"
    async with serving(tmp_path, ledger="not up yet") as service:
        await service.says("Not ready: ledger: not up yet")
        await service.hears(more_time, 3)
        assert service.systemd.count("READY=1") == 0

        service.faults.clear()
        await service.says("Ready: calls to AWS are made.")
        asked = service.systemd.count(more_time)
        await service.hears("WATCHDOG=1", service.systemd.count("WATCHDOG=1") + 5)
        assert service.systemd.count("READY=1") == 1
        assert service.systemd.count(more_time) == asked


async def test_a_loop_that_stands_still_feeds_no_watchdog(tmp_path: Path) -> None:
    """While the event loop is blocked nothing is sent; it goes on once the loop turns again."""
    async with serving(tmp_path) as service:
        await service.hears("WATCHDOG=1", 3)
        fed = service.systemd.count("WATCHDOG=1")
        time.sleep(5 * WATCHDOG_SECONDS)  # noqa: ASYNC251 - to block the loop is what it is about
        assert service.systemd.count("WATCHDOG=1") == fed
        await service.hears("WATCHDOG=1", fed + 1)


async def test_a_worker_that_consumes_no_more_feeds_no_watchdog(tmp_path: Path) -> None:
    """What makes `/healthz` fail starves the watchdog too, though the loop turns."""
    async with serving(tmp_path) as service:
        await service.hears("WATCHDOG=1")
        service.standstill["consuming"] = "messages are ready but none is delivered"
        service.state = CallsState(Calls.PAUSED, "a test")
        await service.says("Ready, but calls are paused: a test")
        assert service.systemd.heard[-1] != "WATCHDOG=1"


async def test_no_watchdog_is_fed_that_nobody_asked_for(tmp_path: Path) -> None:
    """Without `WatchdogSec=` systemd hears of readiness alone."""
    async with serving(tmp_path, watchdog_seconds=None) as service:
        await service.hears("READY=1")
        assert service.systemd.count("WATCHDOG=1") == 0


async def test_a_drain_is_announced_with_the_time_that_it_needs(tmp_path: Path) -> None:
    """It says that it stops, for how long, and feeds the watchdog until it has ended."""
    async with serving(tmp_path) as service:
        await service.hears("READY=1")
        service.reports.stopping(120.0)
        service.faults["ledger"] = "gone"
        fed = service.systemd.count("WATCHDOG=1")
        await service.hears("WATCHDOG=1", fed + 3)
        heard = service.systemd.heard
        assert heard[heard.index("STOPPING=1") + 1] == "EXTEND_TIMEOUT_USEC=130000000"
        assert service.systemd.status == "Shutting down: calls in flight have 120 s to finish."


async def test_a_worker_that_systemd_did_not_start_reports_nothing() -> None:
    """Without a socket the task ends at once."""
    manager = ServiceManager(None)
    reports = ServiceReports(manager, alive=dict, faults=dict, state=lambda: RUNNING)
    await asyncio.wait_for(reports.run(), 1)
    reports.stopping(1.0)


@pytest.mark.parametrize(
    ("faults", "state", "told"),
    [
        ({}, RUNNING, "Ready: calls to AWS are made."),
        (
            {"ledger": "away\nSTOPPING=1", "topology": "a queue is missing"},
            RUNNING,
            "Not ready: ledger: away STOPPING=1; topology: a queue is missing",
        ),
        (
            {},
            CallsState(Calls.STOPPED, "calls to AWS are stopped (AccessDenied)"),
            "Ready, but calls are stopped: calls to AWS are stopped (AccessDenied)",
        ),
        ({}, CallsState(Calls.PAUSED, None), "Ready, but calls are paused: no reason was given"),
    ],
)
def test_the_status_is_one_line(faults: dict[str, str], state: CallsState, told: str) -> None:
    """The state is a sentence that can't be taken for another line."""
    assert sentence(faults, state) == told


def test_a_long_status_is_cut() -> None:
    """Whatever a server says, the line has 500 characters at most."""
    assert len(sentence({"ledger": "x" * 10_000}, RUNNING)) == 500
