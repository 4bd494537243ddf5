"""The HTTP server for `/metrics`, `/healthz` and `/readyz`."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.exposition import choose_encoder

from worker.adapters.http_connections import Connections
from worker.core.exceptions import SetupFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from aiohttp.typedefs import Handler, Middleware
    from prometheus_client import CollectorRegistry

_SHUTDOWN_SECONDS: Final = 1.0
_BACKLOG: Final = (
    1024  # so that a probe behind many others waits for its turn, not for a second SYN
)
_REQUEST_SECONDS: Final = 5.0  # for a request's headers, and between two requests
_LOGGER: Final = logging.getLogger(__name__)


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a logged fault is this program's, not that of a malformed request."""
    fault = record.exc_info[1] if record.exc_info else None
    return not isinstance(fault, HttpProcessingError)


_LOGGER.addFilter(_is_ours)


class PortTaken(SetupFault):
    """The address can't be listened on; the message says why and what to do."""


@asynccontextmanager
async def serving(
    host: str,
    port: int,
    *,
    registry: CollectorRegistry,
    alive: Callable[[], Mapping[str, str]],
    ready: Callable[[], Mapping[str, str]],
    notes: Callable[[], Mapping[str, str]],
) -> AsyncIterator[int]:
    """Serve for the duration of the block; yields the port, which matters if 0 was requested.

    Args:
        host: Address to listen on.
        port: 0 for any free port.
        registry: The metrics that `/metrics` serves.
        alive: The faults for which this process should be restarted, by part.
        ready: The faults that keep this replica from working, by part.
        notes: What `/readyz` says besides, by part, of faults that are not this replica's.

    Raises:
        PortTaken: Another process listens there, or the address can't be used.
    """
    connections = Connections()
    handlers = {
        "/metrics": _metrics(registry),
        "/healthz": _probe(alive, dict),
        "/readyz": _probe(ready, notes),
    }
    runner = _runner(connections, handlers)
    await runner.setup()
    assert runner.server is not None
    try:
        listeners = await _listeners(host, port)
        async with _accepting(listeners, connections, runner.server):
            yield int(listeners[0].getsockname()[1])
    finally:
        await runner.cleanup()
        connections.close()


def _runner(connections: Connections, handlers: Mapping[str, Handler]) -> web.AppRunner:
    app = web.Application(middlewares=[_marking(connections)])
    for path, handler in handlers.items():
        app.router.add_get(path, handler)
    return web.AppRunner(
        app,
        access_log=None,
        logger=_LOGGER,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        keepalive_timeout=_REQUEST_SECONDS,
        tcp_keepalive=False,  # no connection lasts that long
        max_headers=64,
        # No request needs a body: the rest of one is not awaited, and never decompressed.
        lingering_time=0.0,
        auto_decompress=False,
    )


@asynccontextmanager
async def _accepting(
    listeners: Sequence[socket.socket], connections: Connections, server: web.Server
) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(connections.accept(one, server)) for one in listeners]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for listener in listeners:
            listener.close()


async def _listeners(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of the host; bound by asyncio, accepted from by us."""
    loop = asyncio.get_running_loop()
    found: list[socket.socket] = []
    try:
        server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
        found += [socket.socket(fileno=os.dup(one.fileno())) for one in server.sockets]
        server.close()
        for listener in found:
            listener.setblocking(False)
            listener.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        for listener in found:
            listener.close()
        raise PortTaken("; ".join(refusal(host, port, error))) from error
    return found


def refusal(host: str, port: int, error: OSError | UnicodeError) -> tuple[str, str]:
    """Why an address can't be listened on, and what to do about it."""
    if isinstance(error, (socket.gaierror, UnicodeError)):
        why, remedy = "the host name can't be resolved", "correct WORKER_HTTP__HOST"
    else:
        why = os.strerror(error.errno) if error.errno else str(error)
        remedy = _REMEDIES.get(error.errno or 0, _TAKEN)
    return f"can't listen on {host}:{port}: {why}", remedy


_TAKEN: Final = (
    "stop the program that listens there, or set WORKER_HTTP__HOST and WORKER_HTTP__PORT (0 takes "
    "a free port)"
)
_REMEDIES: Final = {
    errno.EACCES: "set WORKER_HTTP__PORT to 1024 or more; for a lower port a process needs the "
    "capability CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "set WORKER_HTTP__HOST to an address of this machine, or 0.0.0.0 for all "
    "of them",
}


def _metrics(registry: CollectorRegistry) -> Handler:
    """`/metrics`; an unreadable Accept header is the client's fault, and is not logged."""
    answer = make_aiohttp_handler(registry)

    async def checked(request: web.Request) -> web.StreamResponse:
        try:
            choose_encoder(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        except (ValueError, TypeError):  # an invalid version
            raise web.HTTPNotAcceptable from None
        return await answer(request)

    return checked


def _probe(
    faults: Callable[[], Mapping[str, str]], notes: Callable[[], Mapping[str, str]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        found, noted = faults(), notes()
        told = {"ok": not found, "faults": found} | ({"notes": noted} if noted else {})
        body = orjson.dumps(told)
        return web.Response(
            status=503 if found else 200, body=body, content_type="application/json"
        )

    return answer


def _marking(connections: Connections) -> Middleware:
    @web.middleware
    async def mark(request: web.Request, handler: Handler) -> web.StreamResponse:
        connections.used(request.transport)
        return await handler(request)

    return mark
