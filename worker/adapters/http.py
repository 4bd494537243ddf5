"""`/metrics`, `/healthz` and `/readyz`."""

from __future__ import annotations

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
        raise PortTaken(
            f"can't listen on {host}:{port} ({error.strerror or error}); end what listens there, "
            "or set WORKER_HTTP__HOST and WORKER_HTTP__PORT (0 takes a free port)"
        ) from error
    address: Any = runner.addresses[0]
    return int(address[1])


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
