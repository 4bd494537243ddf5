"""What replicas share, through PgBouncer in transaction mode."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.schema import prepare
from tests.integration.fleets import HUNGRY, REFUSED, SOUND, Crew, crew, leases, settled
from tests.pgbouncer import PROGRAM, pgbouncer
from worker.adapters.postgres.sessions import Session, connector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness.servers import Database

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="PgBouncer is not installed; run scripts/pgbouncer.sh"
)


@pytest.fixture
async def fleet(database: Database, tmp_path: Path) -> AsyncIterator[Crew]:
    """A fleet whose replicas reach the database through PgBouncer alone."""
    schema = await prepare(database)
    async with pgbouncer(tmp_path, schema.worker, "resolution_worker") as pooler:
        pooled = replace(schema, worker=pooler.before(schema.worker))
        async with crew(pooled) as made:
            yield made


async def test_many_share_few_server_connections(fleet: Crew) -> None:
    """Twelve replicas on four server connections share the rate, take permits and turns."""
    replicas = fleet.replicas(12)
    found = await settled(replicas)
    assert sum(lease.share for lease in found) <= found[-1].rate * 1.001
    assert await replicas[0].permit() == 0.0
    assert await replicas[0].may_probe()
    assert not await replicas[1].may_probe()
    await replicas[0].lease(HUNGRY, REFUSED)
    assert {lease.refused for lease in await leases(replicas[1:])} == {1}


async def test_other_transactions_stay_durable(fleet: Crew) -> None:
    """That a lease does not wait for the disk is not left behind for whoever comes next."""
    replicas = fleet.replicas(4)
    await leases(replicas)
    for each in replicas:
        await each.lease(HUNGRY, SOUND)
        await each.permit()
    found = await asyncio.gather(*(_durability(fleet.schema.worker) for _ in range(8)))
    assert found == ["on"] * 8


async def _durability(dsn: str) -> str:
    session = await Session.open(connector(lambda: dsn), statement_cache=False)
    try:
        (row,) = await session.fetch("SELECT current_setting('synchronous_commit')")
        return str(row[0])
    finally:
        await session.close()
