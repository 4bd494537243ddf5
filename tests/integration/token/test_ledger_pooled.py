"""The ledger through PgBouncer in transaction mode, under the role that has only its rights."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from harness.schema import prepare
from tests.fakes.ledger_suite import LedgerSuite, key, resolved
from tests.integration.token.test_postgres_ledger import PostgresBench
from tests.pgbouncer import PROGRAM, pgbouncer
from worker.adapters.postgres.dead_letters.retention import PostgresRetention
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.sessions import Session, connector
from worker.core.dead_letters.retention import Chore, Task
from worker.core.exceptions import LedgerUnavailable
from worker.core.records import Batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from harness.servers import Database

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="PgBouncer is not installed; run scripts/pgbouncer.sh"
)
_LEDGERS = 12
_ROUNDS = 40


@pytest.fixture
async def pooled(database: Database, tmp_path: Path) -> AsyncIterator[Callable[[], str]]:
    """A migrated database; the worker's address of it, through PgBouncer."""
    schema = await prepare(database)
    async with pgbouncer(tmp_path, schema.worker, "resolution_worker") as pooler:
        yield lambda: pooler.before(schema.worker)


@pytest.fixture
async def bench(database: Database, tmp_path: Path) -> AsyncIterator[PostgresBench]:
    """An empty ledger behind PgBouncer; the superuser looks behind both."""
    schema = await prepare(database)
    async with pgbouncer(tmp_path, schema.worker, "resolution_worker") as pooler:
        ledger = PostgresLedger(connector(lambda: pooler.before(schema.worker)))
        yield PostgresBench(schema, ledger)
        await ledger.close()


@pytest.mark.sampled(4)
class TestPooledLedger(LedgerSuite):
    """The suite, through PgBouncer."""


async def test_the_pooler_is_noticed(pooled: Callable[[], str]) -> None:
    """Through a pooler in transaction mode no statement is prepared for later."""
    session = await Session.open(connector(pooled), statement_cache=None)
    try:
        assert not session.statement_cache
    finally:
        await session.close()


async def test_ledgers_that_share_server_connections(pooled: Callable[[], str]) -> None:
    """Many ledgers at once, on fewer server connections, each read and write what is theirs."""

    async def work(number: int) -> None:
        ledger = PostgresLedger(connector(pooled))
        try:
            for turn in range(_ROUNDS):
                mine = resolved(f"{number}-{turn}")
                await ledger.settle(Batch((mine,)))
                found, *_ = await asyncio.gather(
                    ledger.find_outcomes([mine.key, key("nobody's")]),
                    ledger.check(),
                    ledger.dead_letter_counts(),
                )
                assert found == {mine.key: mine}
        finally:
            await ledger.close()

    async with asyncio.TaskGroup() as group:
        for number in range(_LEDGERS):
            group.create_task(work(number))


async def test_retention_takes_turns_behind_a_pooler(pooled: Callable[[], str]) -> None:
    """A turn is a transaction's, so it is given back whatever server connection it was taken on."""
    keepers = [PostgresRetention(connector(pooled)) for _ in range(3)]
    tasks = [Task(chore) for chore in (Chore.SHRED, Chore.ARCHIVE)] * 5
    for task in tasks:
        done = await asyncio.gather(*(keeper.batch(task) for keeper in keepers))
        assert 0 in done
        assert set(done) <= {0, None}
    for keeper in keepers:
        await keeper.rest()


async def test_a_parameter_that_the_pooler_refuses(pooled: Callable[[], str]) -> None:
    """The address is named as the cause, not the way in which it pools."""
    dsn = f"{pooled()}?options=-c%20work_mem%3D8MB"
    with pytest.raises(LedgerUnavailable, match=r"refused a parameter.+correct options in WORKER"):
        await connector(lambda: dsn)()
    words = "?connect_timeout=10&channel_binding=prefer&keepalives_idle=30&application_name=web"
    connection = await connector(lambda: pooled() + words)()
    assert await connection.fetchval("SELECT 42") == 42
    await connection.close()
