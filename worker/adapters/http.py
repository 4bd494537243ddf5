"""`/metrics`, `/healthz` and `/readyz`."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from prometheus_client import CollectorRegistry

_SHUTDOWN_SECONDS: Final = 1.0


class PortTaken(Exception):  # noqa: N818 - a state of the machine
    """The address can't be listened on; the message says which and what to do."""


@asynccontextmanager
async def serving(
    host: str,
    port: int,
    *,
    registry: CollectorRegistry,
    alive: Callable[[], Mapping[str, str]],
    ready: Callable[[], Mapping[str, str]],
) -> AsyncIterator[int]:
    """Serve for as long as the block lasts; yields the port, which matters where 0 was asked for.

    Args:
        host: Address to listen on.
        port: 0 takes a free one.
        registry: What `/metrics` shows.
        alive: What is wrong with this process, by part; nothing if it should go on.
        ready: What keeps this replica from working, by part.

    Raises:
        PortTaken: Somebody else listens there, or the address is not this machine's.
    """
    app = web.Application()
    app.router.add_get("/metrics", make_aiohttp_handler(registry))
    app.router.add_get("/healthz", _probe(alive))
    app.router.add_get("/readyz", _probe(ready))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        yield await _listen(runner, host, port)
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> int:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise PortTaken("; ".join(refusal(host, port, error))) from error
    address: Any = runner.addresses[0]
    return int(address[1])


def refusal(host: str, port: int, error: OSError) -> tuple[str, str]:
    """Why an address can't be listened on, and what to do about it."""
    if isinstance(error, socket.gaierror):
        why, remedy = "the host name can't be resolved", "correct WORKER_HTTP__HOST"
    else:
        why = os.strerror(error.errno) if error.errno else str(error)
        remedy = _REMEDIES.get(error.errno or 0, _TAKEN)
    return f"can't listen on {host}:{port}: {why}", remedy


_TAKEN: Final = (
    "end what listens there, or set WORKER_HTTP__HOST and WORKER_HTTP__PORT (0 takes a free port)"
)
_REMEDIES: Final = {
    errno.EACCES: "set WORKER_HTTP__PORT to 1024 or more; for those below, a process needs the "
    "capability CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "set WORKER_HTTP__HOST to an address of this machine, 0.0.0.0 for all "
    "of them",
}


def _probe(
    faults: Callable[[], Mapping[str, str]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        found = faults()
        body = orjson.dumps({"ok": not found, "faults": found})
        return web.Response(
            status=503 if found else 200, body=body, content_type="application/json"
        )

    return answer
