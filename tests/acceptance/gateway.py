"""A door before a server that a test opens and shuts: nobody listens while it is shut."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Gateway:
    """Forwards TCP connections to a server while it is open.

    Args:
        url: The server's address.

    Attributes:
        url: The same address with the gateway's port.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._upstream = (parts.hostname, parts.port)
        self._bound = _bound(0)  # refuses connections, and keeps the port for us
        self._port = self._bound.getsockname()[1]
        self.url = url.replace(f":{parts.port}", f":{self._port}")
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._accept, sock=self._bound)

    async def cut(self) -> int:
        """Reset all connections; new ones are let through. Returns how many there were."""
        cut = list(self._connections)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        return len(cut)

    async def shut(self) -> None:
        """Reset all connections and let no more through."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._bound = _bound(self._port)
        await self.cut()

    async def close(self) -> None:
        """Shut it for good."""
        await self.shut()
        self._bound.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # Not in the task: one that is cancelled before its first step runs no `finally`.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, back = await asyncio.open_connection(*self._upstream)
        except OSError:
            return  # the server behind is gone, and so is this connection
        pumps = [asyncio.create_task(_pump(*way)) for way in ((reader, back), (upstream, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            back.transport.abort()  # first: a task that is cancelled twice waits for nothing
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def gateway(url: str) -> AsyncIterator[Gateway]:
    """A gateway before a server, shut at first."""
    door = Gateway(url)
    try:
        yield door
    finally:
        await door.close()
