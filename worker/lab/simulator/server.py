"""The sockets: an HTTP server around the endpoint, until a signal ends it."""

from __future__ import annotations

import asyncio
import math
import random
import signal
import socket
import time
import uuid
from typing import TYPE_CHECKING, Final

import uvloop
from aiohttp import web

from worker.lab.simulator import admin
from worker.lab.simulator.endpoint import CONTENT_TYPE, Endpoint, Options, Sources
from worker.lab.simulator.signature import Request, fold

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# Long enough for answers that are on their way, short enough for a hanging one not to matter.
_CLOSE_WITHIN_S: Final = 0.5
_BACKLOG: Final = 1024


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: The port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def url_of(listener: socket.socket) -> str:
    """The address that a listening socket is reached at."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(options: Options, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once calls are answered."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, listener, ready))


async def _serve(options: Options, listener: socket.socket, ready: Callable[[], None]) -> None:
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    runner = web.ServerRunner(_server(options), shutdown_timeout=_CLOSE_WITHIN_S)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        ready()
        await over.wait()
    finally:
        await runner.cleanup()


def _server(options: Options) -> web.Server:
    # The low-level server: routing and middlewares would cost a third more for each call.
    # A handler is cancelled when its client goes away, or hanging calls would pile up; bodies
    # are not decompressed, since the signature is over the bytes as sent.
    endpoint = Endpoint(options, Sources(time.time, time.monotonic, random.random))
    return web.Server(
        _handler(endpoint), handler_cancellation=True, access_log=None, auto_decompress=False
    )


def _handler(endpoint: Endpoint) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        body = await request.read()
        if path.startswith(admin.PREFIX):
            return _admin(admin.reply(endpoint, request.method, path.partition("?")[0], body))
        call = Request(request.method, path, fold(request.raw_headers), body)
        given = endpoint.answer(call)
        if given.delay_s:
            await _wait(given.delay_s)
        return web.Response(status=given.status, body=given.body, headers=_headers())

    return handle


def _headers() -> dict[str, str]:
    return {"Content-Type": CONTENT_TYPE, "x-amzn-RequestId": str(uuid.uuid4())}


def _admin(reply: admin.Reply) -> web.Response:
    headers = {"Allow": reply.allow} if reply.allow else None
    return web.Response(
        status=reply.status, body=reply.body, content_type="application/json", headers=headers
    )


async def _wait(delay_s: float) -> None:
    if math.isinf(delay_s):
        # Bounded by the client's patience: its leaving cancels the handler.
        await asyncio.Event().wait()
    await asyncio.sleep(delay_s)
