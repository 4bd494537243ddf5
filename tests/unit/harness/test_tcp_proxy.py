"""The proxy through which tests break connections."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from harness.tcp_proxy import Proxy, proxy_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Echo:
    """A server that sends back what it gets, with all that it got so far."""

    def __init__(self) -> None:
        self.received = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection."""
        while data := await reader.read(65_536):
            self.received += data
            writer.write(data)
        writer.close()


@asynccontextmanager
async def before_echo(*, shut: bool = False) -> AsyncIterator[tuple[Proxy, Echo]]:
    """A proxy before a server that sends back what it gets."""
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with proxy_to(f"tcp://somebody@127.0.0.1:{port}/path", shut=shut) as proxy:
            assert proxy.url.endswith("/path")
            yield proxy, echo


class Client:
    """A connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def echoed(self, words: bytes, within: float = 10.0) -> bytes:
        """What comes back when these words are sent; nothing once the connection is gone."""
        self._writer.write(words)
        return await self.read(within)

    async def read(self, within: float = 10.0) -> bytes:
        """What comes next; nothing once the connection is gone."""
        try:
            async with asyncio.timeout(within):
                return await self._reader.read(65_536)
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        """Close it."""
        self._writer.close()


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Client]:
    """A connection through the proxy, until the block ends."""
    where = urlsplit(proxy.url)
    client = Client(*await asyncio.open_connection(where.hostname, where.port))
    try:
        yield client
    finally:
        client.close()


async def test_bytes_pass_both_ways() -> None:
    """An open proxy passes on what either side sends, and counts connections."""
    async with before_echo() as (proxy, _), connected(proxy) as client, connected(proxy) as other:
        assert await client.echoed(b"one") == b"one"
        assert await other.echoed(b"two") == b"two"
        assert proxy.accepted == 2


async def test_a_shut_proxy_refuses_connections_on_the_same_port() -> None:
    """Nobody listens before it is opened and after it is shut, which resets what is open."""
    async with before_echo(shut=True) as (proxy, _):
        with pytest.raises(ConnectionRefusedError):
            async with connected(proxy):
                pass
        await proxy.open()
        async with connected(proxy) as client:
            assert await client.echoed(b"one") == b"one"
            await proxy.shut()
            assert await client.read() == b""
        with pytest.raises(ConnectionRefusedError):
            async with connected(proxy):
                pass
        await proxy.open()
        async with connected(proxy) as client:
            assert await client.echoed(b"two") == b"two"


async def test_a_reset_ends_open_connections_alone() -> None:
    """A reset says how many connections it has ended, and lets new ones through."""
    async with before_echo() as (proxy, _), connected(proxy) as client:
        assert await client.echoed(b"one") == b"one"
        assert await proxy.reset() == 1
        assert await client.read() == b""
        async with connected(proxy) as another:
            assert await another.echoed(b"two") == b"two"


async def test_a_stalled_proxy_holds_back_and_closes_nothing() -> None:
    """What is sent meanwhile arrives once it goes on."""
    async with before_echo() as (proxy, echo), connected(proxy) as client:
        assert await client.echoed(b"one") == b"one"
        proxy.stall()
        with pytest.raises(TimeoutError):
            await client.echoed(b"two", within=0.2)
        assert echo.received == b"one"
        proxy.resume()
        assert await client.read() == b"two"


async def test_latency_delays_each_way() -> None:
    """An answer is late by the latency of its way there and back."""
    async with before_echo() as (proxy, _), connected(proxy) as client:
        proxy.latency = 0.1
        began = asyncio.get_running_loop().time()

        assert await client.echoed(b"one") == b"one"
        assert asyncio.get_running_loop().time() - began >= 0.2


async def test_a_silent_proxy_accepts_and_never_answers() -> None:
    """A connection to a silent proxy is half open: the server never sees it."""
    async with before_echo() as (proxy, echo):
        proxy.silent = True
        async with connected(proxy) as client:
            with pytest.raises(TimeoutError):
                await client.echoed(b"one", within=0.2)
        assert echo.received == b""


async def test_a_connection_is_cut_after_it_has_sent_certain_words() -> None:
    """The server gets the words, and its answer is lost; other words pass."""
    async with before_echo() as (proxy, echo), connected(proxy) as client:
        proxy.cut_after_sending(b"COMMIT")

        assert await client.echoed(b"BEGIN") == b"BEGIN"
        assert await client.echoed(b"COMMIT") == b""
        assert echo.received == b"BEGINCOMMIT"
        assert proxy.cuts == 1


async def test_a_connection_is_cut_after_so_many_bytes() -> None:
    """The server gets no more than these; the next connection is spared."""
    async with before_echo() as (proxy, echo), connected(proxy) as client:
        proxy.cut_after_bytes(4)

        assert await client.echoed(b"one-two") in {b"one-", b""}
        assert await client.read() == b""
        assert echo.received in {b"one-", b""}  # the reset may overtake them
        assert proxy.cuts == 1
        async with connected(proxy) as another:
            assert await another.echoed(b"three") == b"three"
