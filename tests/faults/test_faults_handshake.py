"""A broker that goes away in the middle of a handshake, as one that is being stopped does."""

from __future__ import annotations

import asyncio
import socket
import threading

import pamqp.frame
import pytest
import uvloop
from pamqp.commands import Connection

from worker.adapters.rabbitmq.connection import open_connection
from worker.core.exceptions import BrokerUnavailable

# The beginning of a Connection.Start: a frame's head, which promises more than will come.
HEAD = b"\x01\x00\x00\x00\x00\x01\xf0\x00\x0a\x00\x0a\x00\x09"
TRIES = 40
START = pamqp.frame.marshal(Connection.Start(mechanisms="PLAIN"), 0)
OPENINGS = {
    "nothing": b"",
    "a byte": HEAD[:1],
    "half of a frame's head": HEAD[:4],
    "a frame's head": HEAD[:7],
    "half of a frame": HEAD,
    "a frame": START,
    "a frame and a half": START + HEAD,
    "another version": b"AMQP\x00\x01\x00\x00",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": bytes(64),
    "noise": bytes(range(255, 0, -1)) * 8,
}


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize("opening", OPENINGS)
async def test_a_handshake_that_breaks_off(opening: str, how: str) -> None:
    """Wherever it breaks off, the broker counts as unavailable, in words, and nothing else."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(OPENINGS[opening])
        await writer.drain()
        if how == "reset":
            writer.transport.abort()
        else:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(BrokerUnavailable) as refused:
            await open_connection(f"amqp://me:secret@127.0.0.1:{port}/", name="test", timeout=3)

    assert str(port) in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_connection_that_is_closed_at_once() -> None:
    """On the loop that the worker runs on, the end may come before the first look for a frame."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        closing = threading.Thread(target=_close_at_once, args=(listening, TRIES), daemon=True)
        closing.start()
        uvloop.run(_open_and_fail(listening.getsockname()[1]))
        closing.join(10)


def _close_at_once(listening: socket.socket, times: int) -> None:
    for _ in range(times):
        listening.accept()[0].close()


async def _open_and_fail(port: int) -> None:
    for _ in range(TRIES):
        with pytest.raises(BrokerUnavailable):
            await open_connection(f"amqp://me:secret@127.0.0.1:{port}/", name="test", timeout=3)


async def test_a_cancelled_handshake_is_cancelled() -> None:
    """Somebody's own cancellation is never taken for a loss."""
    begun = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        begun.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        opening = asyncio.create_task(
            open_connection(f"amqp://me:secret@127.0.0.1:{port}/", name="test")
        )
        async with asyncio.timeout(10):
            await begun.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
