"""Whoever can reach the probe port."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from benchmarks.quota.figures import Figure
from tests.neighbours.scenario import scenario
from tests.neighbours.watching import readiness
from tests.seeds import seeds

if TYPE_CHECKING:
    from harness.ground import Ground

pytestmark = [pytest.mark.neighbours, pytest.mark.timeout(180)]

_BUYERS_RATE: Final = 8
_HALF_REQUESTS: Final = 300
_DESCRIPTORS: Final = 256
_SECONDS: Final = 15


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
async def test_half_requests_are_held_open(ground: Ground, seed: int) -> None:
    """Requests that are never finished cost no call, no buyer and no probe."""
    async with scenario(ground, "half requests at the probe port", seed) as on:
        worker = await on.run()
        most = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (_DESCRIPTORS, most))
        port = await worker.port()
        with ExitStack() as stack:
            for _ in range(_HALF_REQUESTS):
                half = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
                half.sendall(b"GET /readyz HTTP/1.1\r\nHost: ")
            async with readiness(worker) as seen:
                await on.buyers.bring(_SECONDS * _BUYERS_RATE, _BUYERS_RATE)
        on.conclude(
            [
                *await on.served(),
                Figure("ready", seen.ready, "%", least=99),
                Figure("longest answer of /readyz", seen.slowest, "s", most=1),
            ]
        )
