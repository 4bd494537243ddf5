"""Strangers at a port: a crowd of connections that begin a request and never end it."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HALF = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"
_LIFE_SECONDS = 120
_PAUSE_SECONDS = 2.0


@asynccontextmanager
async def strangers(port: int, count: int) -> AsyncIterator[None]:
    """So many strangers, from when each has come once until the block ends.

    They are a process of their own, with descriptors of its own. Who is shown the door comes
    again two seconds later.
    """
    command = [sys.executable, "-m", "tests.strangers", str(port), str(count)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"all have come\n"
        yield
    finally:
        process.kill()
        await process.wait()


async def _come(port: int, count: int) -> None:
    came = [asyncio.Event() for _ in range(count)]

    async def stranger(here: asyncio.Event) -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(HALF)
                here.set()
                await reader.read()
                writer.close()
            await asyncio.sleep(_PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for here in came:
            group.create_task(stranger(here))
        for here in came:
            await here.wait()
        print("all have come", flush=True)  # noqa: T201 - to the test that waits for it


if __name__ == "__main__":
    signal.alarm(_LIFE_SECONDS)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_come(*map(int, sys.argv[1:])))
