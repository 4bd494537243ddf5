"""Serves the landing page: `python -m landing`."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from typing import TYPE_CHECKING, Final

import uvicorn

from landing import shop
from landing.app import landing_page
from landing.settings import Settings

if TYPE_CHECKING:
    from types import FrameType

    from landing.events import News
    from landing.provisioning import Hook

SHUTDOWN_SECONDS: Final = 2


class Server(uvicorn.Server):
    """Ends the open streams when it is told to end: it would wait for them otherwise."""

    def __init__(self, config: uvicorn.Config, news: News) -> None:
        super().__init__(config)
        self._news = news
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and print the address once it answers."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for each in sockets or []:
            host, port = each.getsockname()[:2]
            print(f"listening on http://{host}:{port}", flush=True)  # noqa: T201 - for the caller

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End, and all streams with it."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._news.close)


def serve(settings: Settings, hook: Hook = shop.provision) -> None:
    """Serve until SIGTERM or SIGINT."""
    landing = landing_page(settings, hook)
    config = uvicorn.Config(
        landing.app,
        access_log=False,  # it would log queries; see `Outermost`
        forwarded_allow_ips=settings.trusted_proxies,
        log_config=None,
        proxy_headers=bool(settings.trusted_proxies),
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ws="none",
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn sends it again at its end
    listener = socket.create_server((settings.host, settings.port))
    Server(config, landing.news).run([listener])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    serve(Settings.from_env())
