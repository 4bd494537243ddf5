"""Closing a broker's connections from its own side."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.error import HTTPError

if TYPE_CHECKING:
    from harness.servers import Broker


async def drop_connections(broker: Broker, seconds: float = 10) -> int:
    """Close all connections to a virtual host, as soon as the broker lists one.

    Returns:
        How many there were.
    """
    async with asyncio.timeout(seconds):
        while not (dropped := await asyncio.to_thread(_drop, broker)):  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.05)
    return dropped


def _drop(broker: Broker) -> int:
    listed = broker.management.call("GET", "connections") or []
    names = [connection["name"] for connection in listed if connection["vhost"] == broker.vhost]
    for name in names:
        with suppress(HTTPError):  # it closed by itself meanwhile
            broker.management.call("DELETE", "connections", name)
    return len(names)
