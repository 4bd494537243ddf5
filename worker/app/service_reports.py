"""Tells systemd when the worker is ready, that its event loop turns, and when it drains."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worker.adapters.systemd import in_microseconds
from worker.core.token.wire import Calls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.adapters.systemd import ServiceManager
    from worker.core.token.calls_state import CallsState

_PERIOD_SECONDS: Final = 1.0
_START_SECONDS: Final = 30.0
"""How long a start may go on after the last report: it waits for its servers as long as it must."""

_STOP_SECONDS: Final = 10.0
"""What a stop may take beyond the drain."""

_MOST_STATUS_CHARS: Final = 500


class ServiceReports:
    """Reports to systemd for as long as the worker lives; none if systemd did not start it.

    The watchdog is fed from the event loop and from nowhere else, so that a loop that stands still
    feeds none. What makes `/healthz` fail starves it too.

    Args:
        manager: The service manager.
        alive: What `/healthz` says: faults that only a restart mends.
        faults: What `/readyz` says: faults that keep the worker from working.
        state: How calls stand.
    """

    def __init__(
        self,
        manager: ServiceManager,
        *,
        alive: Callable[[], Mapping[str, str]],
        faults: Callable[[], Mapping[str, str]],
        state: Callable[[], CallsState],
    ) -> None:
        self._manager = manager
        self._alive = alive
        self._faults = faults
        self._state = state
        self._ready = False
        self._stopping = False
        self._status: str | None = None

    async def run(self) -> None:
        """Report until cancelled."""
        if not self._manager.listens:
            return
        watchdog = self._manager.watchdog_seconds
        period = _PERIOD_SECONDS if watchdog is None else min(_PERIOD_SECONDS, watchdog / 2)
        while True:
            if not self._stopping:
                self._report()
            if watchdog is not None and not self._alive():
                self._manager.tell("WATCHDOG=1")
            await asyncio.sleep(period)

    def stopping(self, drain_seconds: float) -> None:
        """Say that the worker drains, for so many seconds at most."""
        self._stopping = True
        self._manager.tell(
            "STOPPING=1",
            f"EXTEND_TIMEOUT_USEC={in_microseconds(drain_seconds + _STOP_SECONDS)}",
            f"STATUS=Shutting down: calls in flight have {drain_seconds:g} s to finish.",
        )

    def _report(self) -> None:
        faults = self._faults()
        if not self._ready and not faults:
            self._ready = self._manager.tell("READY=1")
        if not self._ready:
            self._manager.tell(f"EXTEND_TIMEOUT_USEC={in_microseconds(_START_SECONDS)}")
        status = sentence(faults, self._state())
        if status != self._status and self._manager.tell(f"STATUS={status}"):
            self._status = status


def sentence(faults: Mapping[str, str], state: CallsState) -> str:
    """How the worker is, on one line, for `systemctl status`.

    Args:
        faults: What keeps it from working, by part.
        state: How calls stand.
    """
    if faults:
        told = f"Not ready: {'; '.join(f'{part}: {why}' for part, why in faults.items())}"
    elif state.calls is Calls.RUNNING:
        told = "Ready: calls to AWS are made."
    else:
        told = f"Ready, but calls are {state.calls.value}: {state.reason or 'no reason was given'}"
    line = "".join(char if char.isprintable() else " " for char in told)
    return line if len(line) <= _MOST_STATUS_CHARS else f"{line[: _MOST_STATUS_CHARS - 1]}…"
