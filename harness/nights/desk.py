"""A small HTTP server of the harness's own, which programs around it call."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[[str, Any], Awaitable[object]]


@asynccontextmanager
async def desk(answer: Answer) -> AsyncIterator[str]:
    """Serve until the block ends.

    Args:
        answer: Gets the path without its first slash, and the JSON that was posted; what it
            returns is sent back as JSON.

    Returns:
        The address, with a slash at its end.
    """

    async def handle(request: web.Request) -> web.Response:
        return web.json_response(await answer(request.path[1:], await request.json()))

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
