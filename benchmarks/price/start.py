"""How long a worker takes from its start to its first settled token."""

from __future__ import annotations

import asyncio
import os
import time

import asyncpg

from benchmarks.price.contenders import OURS
from benchmarks.price.ground import running, simulator
from benchmarks.price.saturated import publish

_LOOK_SECONDS = 0.005
_PATIENCE_SECONDS = 60.0


async def cold_starts(times: int) -> list[float]:
    """Seconds from the start of the process until the ledger has a token that waited for it."""
    with simulator():
        return [await _cold_start() for _ in range(times)]


async def _cold_start() -> float:
    database = await asyncpg.connect(os.environ["WORKER_POSTGRES__DSN"])
    try:
        before = await database.fetchval(OURS.settled)
        await publish(OURS, 1)
        began = time.monotonic()
        with running(OURS, 64):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while await database.fetchval(OURS.settled) == before:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(_LOOK_SECONDS)
            return time.monotonic() - began
    finally:
        await database.close()
