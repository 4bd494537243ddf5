"""Servers that let a client in and then say what its library can't read."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pamqp.frame
from pamqp import commands

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pamqp.base import Frame


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message of PostgreSQL's, as it is on the wire."""
    return kind + struct.pack("!i", len(body) + 4) + body


def frame(command: Frame) -> bytes:
    """A command of AMQP 0-9-1, as it is on the wire."""
    return pamqp.frame.marshal(command, 0)


LET_IN = message(b"R", struct.pack("!i", 0))
READY = message(b"K", struct.pack("!ii", 1, 2)) + message(b"Z", b"I")
NO_VERSION = (LET_IN + READY,)
"""A PostgreSQL that names no version: asyncpg raises AttributeError as it connects."""

START = frame(commands.Connection.Start(0, 9, {"product": "odd"}, "PLAIN", "en_US"))
TUNE = frame(commands.Connection.Tune(2047, 131_072, 60))
NO_CAPABILITIES = (START, TUNE + frame(commands.Connection.OpenOk()))
"""A broker that names no capabilities: aio-pika raises KeyError as it opens a channel."""
_CLOSE = b"\x00\x0a\x00\x32"  # class and method


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[int]:
    """The port of a server that says these, one after another, and closes.

    A broker that has let a client in waits until it wants to go. At the end all clients must be
    gone.
    """
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            for answer in answers:
                if not await reader.read(65_536):
                    return
                writer.write(answer)
                await writer.drain()
            while answers == NO_CAPABILITIES and (data := await reader.read(65_536)):
                if _CLOSE in data:
                    return
        except OSError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield int(server.sockets[0].getsockname()[1])
        if serving:
            _, left = await asyncio.wait(serving, timeout=10)
            assert not left
