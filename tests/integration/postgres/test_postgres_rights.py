"""What the roles of `deploy/postgres` may do, and what they may not."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from harness.schema import connected, prepare
from tests.fakes.ledger_suite import failed, letter, resolved, unreadable
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.sessions import connector
from worker.core.exceptions import LedgerUnavailable
from worker.core.records import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.schema import Schema
    from harness.servers import Database, PostgresServer

# As the gauges and reprocessing ask them.
_OPEN = "FROM resolution.dead_letter WHERE state = 'open'"
_PAGE = "AND (failed_at, id) > (now() - interval '1 h', 5) ORDER BY failed_at, id LIMIT 50"
LETTER_QUERIES = (
    f"SELECT reason, count(*) {_OPEN} GROUP BY reason",
    f"SELECT count(*) {_OPEN} AND redeemable_until > now()",
    f"SELECT reason, error_code, count(*), max(failed_at) {_OPEN} GROUP BY reason, error_code",
    f"SELECT id {_OPEN} AND reason = 'dead' {_PAGE}",
    f"SELECT id {_OPEN} {_PAGE}",
)
FORBIDDEN = (
    "DELETE FROM resolution.ledger",
    "DELETE FROM resolution.agreement",
    "DELETE FROM resolution.dead_letter",
    "TRUNCATE resolution.ledger",
    "DROP TABLE resolution.ledger",
    "DROP SCHEMA resolution CASCADE",
    "ALTER TABLE resolution.ledger ADD COLUMN x text",
    "CREATE TABLE resolution.x (x text)",
    "CREATE SCHEMA x",
    "SELECT sealed FROM resolution.dead_letter",
    "SELECT metadata FROM resolution.dead_letter",
    "SELECT * FROM resolution.dead_letter",
    "SELECT * FROM resolution.letter_event",
    "SELECT * FROM resolution.replay",
    "INSERT INTO resolution.letter_event (letter_id, kind, actor) VALUES (1, 'discarded', 'ada')",
    "UPDATE resolution.letter_event SET kind = 'resolved'",
    "DELETE FROM resolution.letter_event",
    "DELETE FROM resolution.malformed_message",
    "DELETE FROM resolution.audit",
    "UPDATE resolution.ledger SET product_code = 'x' WHERE status = 'resolved'",
    "SELECT resolution.erase_customer('customer-1', NULL, 'a', 'r')",
    "SELECT * FROM resolution.malformed_message",
    "UPDATE resolution.malformed_message SET reason = ''",
    "SELECT * FROM resolution.outcomes",
    "UPDATE resolution.dead_letter SET body_sha256 = ''",
    "INSERT INTO resolution.schema_migration VALUES (9999, '', '')",
    "SELECT pg_read_file('PG_VERSION')",
)
VIEWS = ("outcomes", "agreements", "malformed")


@pytest.fixture
async def schema(database: Database) -> Schema:
    """A prepared database with a row in every table."""
    prepared = await prepare(database)
    ledger = PostgresLedger(connector(lambda: prepared.worker))
    batch = Batch((resolved("a"), failed("b")), (letter("b"),), (unreadable("m"),))
    await ledger.settle(batch)
    await ledger.close()
    return prepared


async def test_the_worker_may_not(schema: Schema) -> None:
    """The worker's role can destroy, change and read nothing that it need not."""
    async with connected(schema.worker) as worker:
        for forbidden in FORBIDDEN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await worker.execute(forbidden)


async def test_a_reader_sees_the_views_alone(schema: Schema) -> None:
    """Whoever is granted the reader's role reads the three views and nothing behind them."""
    async with connected(schema.superuser) as reader:
        await reader.execute("SET SESSION AUTHORIZATION resolution_reader")
        for view in VIEWS:
            assert len(await reader.fetch(f"SELECT * FROM resolution.{view}")) > 0
            with pytest.raises(asyncpg.PostgresError):
                await reader.execute(f"DELETE FROM resolution.{view}")
        for table in ("ledger", "customer", "agreement", "dead_letter", "malformed_message"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute(f"SELECT FROM resolution.{table}")


@contextmanager
def somebody(server: PostgresServer, options: str = "") -> Iterator[str]:
    """A role of this server's that logs in, until the block ends; roles are the whole server's."""
    name = f"somebody_{uuid.uuid4().hex[:12]}"
    server.execute(f"CREATE ROLE {name} LOGIN {options}")
    try:
        yield name
    finally:
        server.execute(f"DROP ROLE {name}")


async def test_strangers_of_the_server_may_not_connect(
    schema: Schema, database: Database, postgres_server: PostgresServer
) -> None:
    """Who logs in at the same server for something else gets no session with this database.

    The worker is told so as well, with what mends it.
    """
    with somebody(postgres_server) as stranger:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="denied for database"):
            await asyncpg.connect(database.dsn_of(stranger), timeout=30)
        ledger = PostgresLedger(connector(lambda: database.dsn_of(stranger)))
        with pytest.raises(LedgerUnavailable, match=r"may not connect .*roles\.sql"):
            await ledger.check()
        await ledger.close()
        # Received apart from a database that nobody gets into.
        await schema.execute(f"GRANT CONNECT ON DATABASE {database.name} TO {stranger}")
        async with connected(database.dsn_of(stranger)) as session:
            assert await session.fetchval("SELECT session_user") == stranger
        await schema.execute(f"REVOKE CONNECT ON DATABASE {database.name} FROM {stranger}")


async def test_our_roles_connect_and_whoever_is_granted_one(
    schema: Schema, database: Database, postgres_server: PostgresServer
) -> None:
    """Each shipped role that logs in may connect, and so may a person who was granted a role."""
    for dsn in (schema.migrator, schema.worker, schema.operator):
        async with connected(dsn) as session:
            assert await session.fetchval("SELECT current_database()") == database.name
    for role in ("resolution_reader", "resolution_operator"):
        with somebody(postgres_server, f"IN ROLE {role}") as person:
            async with connected(database.dsn_of(person)) as session:
                assert await session.fetch("SELECT * FROM resolution.outcomes")


async def test_no_role_of_ours_makes_temporary_tables(schema: Schema) -> None:
    """A stolen password fills no disk with tables that no limit counts."""
    for dsn in (schema.worker, schema.operator):
        async with connected(dsn) as session:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="temporary"):
                await session.execute("CREATE TEMPORARY TABLE x (x text)")


async def test_bounds_stand_on_the_workers_role(schema: Schema) -> None:
    """Statements, locks and idle transactions of the worker are bounded by the server itself."""
    async with connected(schema.worker) as worker:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert await worker.fetchval("SELECT current_setting($1)", name) != "0"


@pytest.mark.long
async def test_counting_and_paging_letters_uses_indexes(schema: Schema) -> None:
    """A hundred thousand letters are counted, grouped and paged through without reading them."""
    await schema.execute(
        "INSERT INTO resolution.dead_letter (seller, reason, error_code, error_message,"
        " body_sha256, message_id, lane, attempts, received_at, first_failed_at, failed_at,"
        " sealed, seal_key_id, body_bytes) SELECT 'default', (ARRAY['dead', 'expired'])[1 + n % 2],"
        " 'Timeout', '', sha256(n::text::bytea), n::text, 'live', 1, now(), now(), now(),"
        " repeat('x', 400)::bytea, 'k', 400 FROM generate_series(1, 100000) AS n;"
    )
    await schema.execute("VACUUM ANALYZE resolution.dead_letter")
    for query in LETTER_QUERIES:
        rows = await schema.rows(f"EXPLAIN {query}")
        plan = "\n".join(row[0] for row in rows)
        assert "Index Only Scan" in plan, plan
