"""Tells callers once a second how calls stand, and at once when that changes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from worker.adapters import logs
from worker.adapters.rabbitmq.topology import TOKENS
from worker.app.health import NOT_YET
from worker.core import holds
from worker.core.records import Lane
from worker.core.token.calls_state import (
    CONSUMING,
    PERIOD_SECONDS,
    SHUTTING_DOWN,
    CallsState,
    body,
    judge,
)
from worker.core.token.wire import Calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.adapters.rabbitmq.consuming import ConsumingLink
    from worker.app.health import Health
    from worker.runtime.replica import Replica

_LOOK_SECONDS: Final = 0.2
_LEAVE_SECONDS: Final = 1.0


class Channel(Protocol):
    """Where reports go."""

    @property
    def fault(self) -> str | None:
        """Why the broker does not take them; None while it does."""
        ...

    async def send(self, body: bytes) -> None:
        """Send a report, if that is possible at the moment; never raises for the broker's sake."""
        ...


class StateReports:
    """Reports for as long as the replica works; after that callers hear its silence.

    Args:
        look: How calls stand now; also an attribute.
        channel: Where reports go.
    """

    def __init__(self, look: Callable[[], CallsState], channel: Channel) -> None:
        self.look = look
        self._channel = channel

    @property
    def fault(self) -> str | None:
        """Why the broker does not take the reports; None while it does."""
        return self._channel.fault

    async def run(self) -> None:
        """Report until cancelled."""
        clock = asyncio.get_running_loop().time
        told: Calls | None = None
        due = clock()
        while True:
            state = self.look()
            if state.calls is not told or clock() >= due:
                told, due = state.calls, clock() + PERIOD_SECONDS
                await self._channel.send(body(state))
            await asyncio.sleep(max(0.0, min(_LOOK_SECONDS, due - clock())))

    async def leave(self) -> None:
        """Say once that this replica makes no more calls, whatever others do."""
        last = replace(self.look(), calls=Calls.STOPPED, reason=SHUTTING_DOWN)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._channel.send(body(last))


def calls_state(health: Health, replica: Replica, consuming: ConsumingLink) -> CallsState:
    """How calls stand by what this replica knows of itself, and of the others by its lease."""
    held = {
        part: why
        for part, why in health.faults.items()
        if part in {holds.LEDGER, CONSUMING} and why != NOT_YET
    } | replica.gate.reasons
    pause = replica.lease_keeper.pause
    paused, ending = (None, "") if pause is None else (pause.reason, pause.ending)
    calls, reason = judge(held, paused, ending)
    elsewhere = replica.in_hand_elsewhere
    return CallsState(
        calls,
        reason and logs.secrets.hide(reason),
        rate=replica.pacer.shared,
        waiting=consuming.ready.get(TOKENS, 0) + consuming.unacked(Lane.LIVE) + elsewhere.messages,
        oldest_seconds=max(replica.pipeline.oldest_seconds(Lane.LIVE), elsewhere.oldest_seconds),
    )
