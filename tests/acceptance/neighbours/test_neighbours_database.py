"""A database that could not be written for a while, and who believes it still."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from harness.schema import connected
from harness.waiting import eventually
from tests.acceptance.outcomes import fresh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.installation import Installation
    from harness.web_tier import WebTier

SOON_SECONDS = 20.0  # 3 on a machine that does nothing else


@asynccontextmanager
async def read_only(stage: Installation) -> AsyncIterator[None]:
    """Sessions that begin within the block take no writes, as a managed provider does it."""
    alter = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {}', current_database()); END $$"
    async with connected(stage.schema.superuser) as connection:  # which stays as it began
        await connection.execute(alter.format("SET default_transaction_read_only = on"))
        try:
            yield
        finally:
            await connection.execute(alter.format("RESET default_transaction_read_only"))


async def end_sessions(stage: Installation) -> None:
    """Make the worker connect again."""
    await stage.schema.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'resolution_worker' AND datname = current_database()"
    )


async def test_read_only_at_the_start_is_not_believed_for_ever(
    stage: Installation, web: WebTier
) -> None:
    """A worker that finds a read-only database consumes soon after that is over."""
    waiting = await web.submit(fresh("ok"))
    async with read_only(stage):
        worker = stage.start()
        await worker.unready("ledger", "the database is read-only")
        await eventually(lambda: len(worker.logged("waiting_for_ledger")) > 2, "it looks again")
    assert (await web.event(waiting, seconds=SOON_SECONDS)).status == "resolved"
    await worker.ready(SOON_SECONDS)


@pytest.mark.long
async def test_read_only_for_a_while_is_over_when_it_is(stage: Installation, web: WebTier) -> None:
    """A worker that reconnected meanwhile is unready as long as that lasts, and no longer."""
    worker = await stage.run()
    assert (await web.settled(fresh("ok"))).status == "resolved"
    async with read_only(stage):
        await end_sessions(stage)
        waiting = await web.submit(fresh("ok"))
        await worker.unready("the database is read-only")
    assert (await web.event(waiting, seconds=SOON_SECONDS)).status == "resolved"
    await worker.ready(SOON_SECONDS)
