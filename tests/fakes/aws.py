"""A server that answers HTTP requests with the very bytes a test wants, or not at all."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RESET: Final = "reset"  # the connection is reset once the request is read
CLOSE: Final = "close"  # it is closed without a word
HANG: Final = "hang"  # nothing ever comes


@dataclass(frozen=True)
class Cut:
    """These bytes, and then the connection is closed."""

    content: bytes


@dataclass(frozen=True)
class Late:
    """These bytes, after so many seconds."""

    content: bytes
    seconds: float


Step: TypeAlias = bytes | str | Cut | Late


def reply(status: int, body: object, **headers: str) -> bytes:
    """A whole HTTP response; a body that is no bytes becomes JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    fields = {"Content-Length": str(len(content)), "Content-Type": "application/x-amz-json-1.1"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Words\r\n{lines}\r\n".encode() + content


@dataclass
class Received:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class RawAws:
    """The server.

    Attributes:
        steps: What each request is answered with, in turn; the last again and again.
        received: All requests.
        connections: How many connections were opened.
    """

    url: str
    steps: deque[Step] = field(default_factory=deque)
    received: list[Received] = field(default_factory=list)
    connections: int = 0

    def answer(self, *steps: Step) -> None:
        """Answer the next requests so."""
        self.steps = deque(steps)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while True:
                self.received.append(await _request(reader))
                step = self.steps.popleft() if len(self.steps) > 1 else self.steps[0]
                if not await _take(step, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *rest = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(line, headers, body)


async def _take(step: Step, writer: asyncio.StreamWriter) -> bool:
    """Answer a request so; whether the connection stays open."""
    if step == HANG:
        await asyncio.Event().wait()
    if step == RESET:
        lingering = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
    if isinstance(step, str):
        return False
    if isinstance(step, Late):
        await asyncio.sleep(step.seconds)
    writer.write(step if isinstance(step, bytes) else step.content)
    await writer.drain()
    return not isinstance(step, Cut)


@asynccontextmanager
async def raw_aws(*steps: Step) -> AsyncIterator[RawAws]:
    """A server on a free port of this machine, as long as the block lasts."""
    aws = RawAws("")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await aws.serve(reader, writer)
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    aws.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    aws.answer(*steps)
    try:
        yield aws
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
