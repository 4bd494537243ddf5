"""A lost connection is opened again, sooner where the one before was sound."""

from __future__ import annotations

import asyncio

import pytest

from worker.adapters.rabbitmq import reconnecting
from worker.adapters.rabbitmq.reconnecting import TopologyMissing, supervise
from worker.core import backoff
from worker.core.exceptions import BrokerLost, BrokerUnavailable

STEADY_SECONDS = 0.05


class Waits:
    """A backoff that does not wait, and notes for how many failures it was asked."""

    def __init__(self) -> None:
        self.failures: list[int] = []

    def delay(self, failures: int, _: float) -> float:
        """No time at all."""
        self.failures.append(failures)
        return 0.0


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """The waits between connections; one is steady after a twentieth of a second."""
    waits = Waits()
    monkeypatch.setattr(backoff, "RECONNECT", waits)
    monkeypatch.setattr(reconnecting, "_STEADY_SECONDS", STEADY_SECONDS)
    return waits


async def lives(*ends: tuple[float, Exception]) -> list[str | None]:
    """Let one life after another last so long and end so, and the last in order; the reports."""
    left = list(ends)
    reports: list[str | None] = []

    async def epoch() -> None:
        if left:
            seconds, error = left.pop(0)
            await asyncio.sleep(seconds)
            raise error

    await supervise("test", epoch, reports.append)
    return reports


async def test_waits_grow_while_nothing_can_be_opened(waits: Waits) -> None:
    """Each attempt in vain counts, whatever it failed for, and the reason is told."""
    away, absent = BrokerUnavailable("nobody there"), TopologyMissing("no queue")

    reports = await lives((0, away), (0, away), (0, absent), (0, BrokerLost("gone")))

    assert waits.failures == [1, 2, 3, 4]
    where = "nobody there; the address is WORKER_AMQP__URL"
    assert reports == [where, where, "no queue", "gone"]


async def test_a_sound_connection_forgets_what_was_before(waits: Waits) -> None:
    """After a connection that lived a while, the next is opened nearly at once."""
    gone = BrokerLost("gone")

    await lives((0, gone), (0, gone), (STEADY_SECONDS * 2, gone), (0, gone))

    assert waits.failures == [1, 2, 1, 2]


async def test_a_long_handshake_is_no_sound_connection(waits: Waits) -> None:
    """An attempt that hangs until its bound counts as one in vain."""
    silent = BrokerUnavailable("no answer")

    await lives((STEADY_SECONDS * 2, silent), (STEADY_SECONDS * 2, silent))

    assert waits.failures == [1, 2]


def test_the_longest_wait_is_bounded() -> None:
    """However long the broker was away, its return is noticed within three seconds."""
    assert backoff.RECONNECT.bound(1000) == 3.0
