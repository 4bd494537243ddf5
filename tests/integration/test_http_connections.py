"""Who holds connections to the port of probes and metrics keeps nobody else out of it."""

from __future__ import annotations

import asyncio
import logging
import socket
import statistics
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import psutil
import pytest
from prometheus_client import CollectorRegistry, Gauge

from harness.waiting import eventually
from tests.strangers import HALF, strangers
from worker.adapters import http, http_connections
from worker.adapters.http import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WHOLE = HALF + b"\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: here\r\n"
MOST = 32


@asynccontextmanager
async def listening(registry: CollectorRegistry | None = None) -> AsyncIterator[int]:
    """The port of the real thing, healthy, with these metrics."""
    registry = registry or CollectorRegistry()
    async with serving(
        "127.0.0.1", 0, registry=registry, alive=dict, notes=dict, ready=dict
    ) as port:
        yield port


class Client:
    """One connection, used as a test wants it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def say(self, words: bytes) -> None:
        """Send something, whatever it is."""
        self._writer.write(words)

    async def hear(self) -> bytes:
        """The next words of the answer; nothing once the connection is closed."""
        async with asyncio.timeout(20):
            try:
                return await self._reader.read(4096)
            except ConnectionError:
                return b""

    def close(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()


@asynccontextmanager
async def client(port: int, says: bytes = b"") -> AsyncIterator[Client]:
    """A connection until the block ends, over which this has been said; it takes in little."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
    found = Client(*await asyncio.open_connection(sock=one, limit=1024))
    try:
        found.say(says)
        yield found
    finally:
        found.close()


def descriptors() -> int:
    """How many this process has open."""
    return int(psutil.Process().num_fds())


async def probed(port: int) -> float:
    """How long a probe takes, which must be answered."""
    began = time.monotonic()
    async with client(port, WHOLE) as probe:
        assert (await probe.hear()).startswith(b"HTTP/1.1 200 OK")
    return time.monotonic() - began


async def test_a_thousand_half_requests_keep_no_probe_out() -> None:
    """Beside a thousand who hold half requests and come again, probes are answered in time."""
    async with listening() as port:
        before, most, took = descriptors(), 0, []
        async with strangers(port, 1000):
            for _ in range(50):
                took.append(await probed(port))
                most = max(most, descriptors())
                await asyncio.sleep(0.05)
        assert statistics.median(took) < 1
        assert before + MOST - 5 < most <= before + MOST + 5


async def test_half_a_request_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not end a request in time is cut off, whatever drips in meanwhile."""
    monkeypatch.setattr(http, "_REQUEST_SECONDS", 0.5)
    async with listening() as port, client(port, HALF) as dripping, client(port) as silent:

        async def drip() -> None:
            while True:
                dripping.say(b"X-Drip: 1\r\n")
                await asyncio.sleep(0.05)

        task = asyncio.create_task(drip())
        assert await dripping.hear() == b""
        assert await silent.hear() == b""
        task.cancel()


async def test_an_answer_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the metrics and does not read them is cut off in the end."""
    monkeypatch.setattr(http_connections, "_SECONDS", 1.0)
    registry = CollectorRegistry()
    gauge = Gauge("large", "-", ["label"], registry=registry)
    for n in range(1000):
        gauge.labels(f"{n}-" + 5000 * "x").set(1)
    async with listening(registry) as port:
        before = descriptors()
        async with client(port, METRICS + b"\r\n") as reading:
            assert (await reading.hear()).startswith(b"HTTP/1.1 200 OK")
            await eventually(lambda: descriptors() <= before + 1, "only our own end is open")


async def test_who_asks_from_time_to_time_stays() -> None:
    """The connection that gives way is the one that was not used for longest."""
    async with listening() as port, AsyncExitStack() as stack:
        used = await stack.enter_async_context(client(port, WHOLE))
        assert await used.hear()
        halves = []
        for _ in range(2 * MOST):
            halves.append(await stack.enter_async_context(client(port, HALF)))
            await probed(port)  # so that the half one has been taken up
            used.say(WHOLE)
            assert (await used.hear()).startswith(b"HTTP/1.1 200 OK")
        assert await halves[0].hear() == b""


@pytest.mark.parametrize(
    ("says", "answer"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00 begins TLS", b"400"),
        (HALF + b"X: " + 9000 * b"x" + b"\r\n\r\n", b"400"),
        (HALF + 70 * b"X: x\r\n" + b"\r\n", b"400"),
        (METRICS + b"Accept: application/openmetrics-text; version=x\r\n\r\n", b"406"),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx", b"405"),
    ],
    ids=["nonsense", "tls", "long", "many", "format", "body"],
)
async def test_junk_is_refused_and_not_logged(
    says: bytes, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What can't be read or is not for us is answered so, and fills no log of ours."""
    async with listening() as port, client(port, says) as one:
        assert (await one.hear()).split()[1] == answer
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_strangers_do_not_delay_the_end() -> None:
    """Serving ends at once, and nothing of it stays open, though others hold connections."""
    async with AsyncExitStack() as stack:
        before = descriptors()
        async with listening() as port:
            for _ in range(5):
                await stack.enter_async_context(client(port, HALF))
            await probed(port)
        await eventually(lambda: descriptors() <= before + 5, "only the clients' ends are open")
