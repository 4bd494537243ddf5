"""What a shop finds in its log while the broker is away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[3] / "clients" / "python"
NOWHERE = "amqp://shop:secret@127.0.0.1:1/"
# In a process of its own: the worker has the library's loggers say less.
AWAY = f"""
import aio_pika, asyncio, resolution_client

async def main():
    async with resolution_client.Resolver("{NOWHERE}") as resolver:
        try:
            await resolver.resolve("ok-1", wait=2.0)
        except resolution_client.NotPublished:
            pass
    try:
        await aio_pika.connect("{NOWHERE}")  # the shop's own
    except ConnectionError:
        pass

asyncio.run(main())
"""


def test_an_outage_is_logged_once() -> None:
    """However often it tries to connect, one line says so; the shop's own connections say more."""
    done = subprocess.run(
        [sys.executable, "-c", AWAY],
        env={**os.environ, "PYTHONPATH": str(CLIENT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    ours, own = done.stderr.splitlines()
    assert ours == "no connection: broker at 127.0.0.1:1: connection refused"
    assert own.startswith("error when creating transport")
    assert "secret" not in done.stderr
