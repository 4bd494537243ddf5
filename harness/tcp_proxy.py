"""A TCP proxy that does to connections what networks, firewalls and dying machines do.

Its port refuses connections while it is shut, as that of a server that is down.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

_CHUNK = 65_536


class Proxy:
    """Forwards connections to a server, for as long and as well as it is told; shut at first.

    Args:
        url: The server's address.
        tls: If given, clients must speak TLS; the server behind is spoken to in clear.

    Attributes:
        url: The same address with the proxy's port.
        latency: Seconds by which each piece of data is late, either way.
        silent: Whether new connections are accepted and then left alone: half open.
        accepted: How many connections were accepted so far.
        cuts: How many connections `cut_after_sending` has cut.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._upstream = (parts.hostname, parts.port)
        self._socket = _bound(0)
        self._port = self._socket.getsockname()[1]
        self.url = url.replace(f":{parts.port}", f":{self._port}")
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut_at: bytes | None = None
        self._bytes_left: int | None = None
        self.latency = 0.0
        self.silent = False
        self.accepted = 0
        self.cuts = 0

    async def open(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._accept, sock=self._socket, ssl=self._tls)

    async def shut(self) -> None:
        """Reset all connections, and refuse new ones: nobody listens."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._socket = _bound(self._port)
        await self.reset()

    async def close(self) -> None:
        """Shut it for good."""
        self.resume()
        await self.shut()
        self._socket.close()

    async def reset(self) -> int:
        """Reset all connections, and let new ones through; returns how many there were."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(tasks)

    def stall(self) -> None:
        """Pass nothing on, either way, and close nothing."""
        self._flowing.clear()

    def resume(self) -> None:
        """Pass on again, what was held back included."""
        self._flowing.set()

    def cut_after_sending(self, words: bytes | None) -> None:
        """Reset each connection right after it has sent the server these words; None for none.

        What the server says to them is not passed on any more.
        """
        self._cut_at = words

    def cut_after_bytes(self, count: int | None) -> None:
        """Reset each connection, in the middle of whatever it is, after so many bytes to come."""
        self._bytes_left = count

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # Not in the task: one that is cancelled before its first step runs no `finally`.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.silent:
            await asyncio.Event().wait()
        try:
            upstream, back = await asyncio.open_connection(*self._upstream)
        except OSError:
            return  # the server behind is gone, and so is this connection
        muted = asyncio.Event()
        pumps = [
            asyncio.create_task(self._send(reader, back, muted)),
            asyncio.create_task(self._answer(upstream, writer, muted)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            back.transport.abort()  # first: a task that is cancelled twice waits for nothing
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, muted: asyncio.Event
    ) -> None:
        """Pass on to the server; ends where the connection is to be cut."""
        while data := await self._read(reader):
            if self._bytes_left is not None:
                part = data[: self._bytes_left]
                self._bytes_left -= len(part)
                if len(part) < len(data):
                    writer.write(part)
                    await writer.drain()
                    self.cuts += 1
                    self._bytes_left = None
                    return
            if last := self._cut_at is not None and self._cut_at in data:
                muted.set()
            writer.write(data)
            await writer.drain()
            if last:
                # The server gets to work on it before it learns that nobody listens.
                await asyncio.sleep(0.05)
                self.cuts += 1
                return

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, muted: asyncio.Event
    ) -> None:
        """Pass on from the server, except what it answers to the words at which it is cut."""
        while data := await self._read(reader):
            if not muted.is_set():
                writer.write(data)
                await writer.drain()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        data = await reader.read(_CHUNK)
        await self._flowing.wait()
        if self.latency:
            await asyncio.sleep(self.latency)
        return data


def _bound(port: int) -> socket.socket:
    """A port of ours that refuses connections until somebody listens on it."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


@asynccontextmanager
async def proxy_to(
    url: str, *, tls: ssl.SSLContext | None = None, shut: bool = False
) -> AsyncIterator[Proxy]:
    """A proxy before a server, until the block ends; open unless it is to be `shut` at first."""
    proxy = Proxy(url, tls)
    try:
        if not shut:
            await proxy.open()
        yield proxy
    finally:
        await proxy.close()
