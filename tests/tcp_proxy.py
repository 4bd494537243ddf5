"""A TCP proxy that can fall silent or break, for what a real network does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHUNK = 65_536


class Proxy:
    """Passes bytes on between its clients and one server.

    Attributes:
        port: Where it listens on the loopback interface.
        idle: Set while there is no connection.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.idle = asyncio.Event()
        self.idle.set()
        self.port = 0

    def stall(self) -> None:
        """Pass nothing on, either way, and close nothing."""
        self._flowing.clear()

    def resume(self) -> None:
        """Pass on again, what was held back included."""
        self._flowing.set()

    def reset(self) -> None:
        """Break all connections without a goodbye."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one client."""
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._server_port)
        ends = {writer, upstream}
        self._writers |= ends
        self.idle.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, upstream))
                group.create_task(self._pass_on(upstream_reader, writer))
        finally:
            self._writers -= ends
            for end in ends:
                end.close()
            if not self._writers:
                self.idle.set()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()


@asynccontextmanager
async def proxy_to(server_port: int) -> AsyncIterator[Proxy]:
    """A proxy before a server of this machine, until the block ends."""
    proxy = Proxy(server_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.resume()
        proxy.reset()
        # Their handlers end by themselves once both ends are gone.
        await proxy.idle.wait()
