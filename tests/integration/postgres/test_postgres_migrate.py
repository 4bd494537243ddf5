"""Bringing the schema up to date, as a role that owns it and is no superuser."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import pytest
import typer
from typer.testing import CliRunner

from harness.schema import addresses, connected, prepare, run_script
from worker.adapters.postgres import migrate as module
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.migrate import (
    LATEST,
    Applied,
    Migration,
    MigrationRefused,
    bundled,
    migrate,
)
from worker.adapters.postgres.sessions import connector
from worker.cli.migrate import migrate as command
from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from harness.schema import Schema
    from harness.servers import Database

NEXT = Migration.of(
    f"{LATEST + 1:04}_next.sql", "ALTER TABLE resolution.ledger ADD COLUMN next text"
)

# As those who read the views were promised them: names, order and types.
VIEWS = {
    "outcomes": "token_sha256 bytea, message_id text, status text, seller text,"
    " product_code text, customer_aws_account_id text, customer_identifier text,"
    " license_arn text, agreement_id text, offer_type text, error_code text,"
    " error_message text, advice text, attempts integer,"
    " received_at timestamp with time zone, settled_at timestamp with time zone",
    "agreements": "seller text, customer_aws_account_id text, customer_identifier text,"
    " product_code text, license_arn text, agreement_id text, offer_type text,"
    " first_resolved_at timestamp with time zone, last_resolved_at timestamp with time zone",
    "malformed": "body_sha256 bytea, message_id text, reason text,"
    " received_at timestamp with time zone",
}


@pytest.fixture
async def empty(database: Database) -> Schema:
    """A database with roles and nothing else."""
    schema = addresses(database)
    await run_script(schema.superuser, "roles.sql")
    return schema


async def test_a_fresh_database_gets_everything(empty: Schema) -> None:
    """All bundled migrations are applied in order, each told of once, each recorded."""
    told: list[Applied] = []
    recorded = await migrate(lambda: empty.migrator, on_applied=told.append)
    assert told == recorded
    assert [(each.version, each.name, each.checksum) for each in recorded] == [
        (each.version, each.name, each.checksum) for each in bundled()
    ]


async def test_twice_changes_nothing(empty: Schema) -> None:
    """A second run applies nothing and reports the same."""
    told: list[Applied] = []
    first = await migrate(lambda: empty.migrator)
    assert await migrate(lambda: empty.migrator, on_applied=told.append) == first
    assert told == []


async def test_eight_at_once_apply_each_once(empty: Schema) -> None:
    """Many started at the same instant take turns: every migration is applied by one of them."""
    told: list[Applied] = []
    wanted = (*bundled(), NEXT)
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(
                migrate(lambda: empty.migrator, migrations=wanted, on_applied=told.append)
            )
    # Each is told after its commit, by when another may have applied and told the next.
    assert sorted(each.version for each in told) == [each.version for each in wanted]


async def test_a_changed_file_is_refused_by_name(empty: Schema) -> None:
    """A file that differs from what was applied stops everything, what is new included."""
    await migrate(lambda: empty.migrator)
    first = bundled()[0]
    edited = Migration.of(first.file_name, first.sql + "-- harmless\n")
    with pytest.raises(MigrationRefused, match=f"{first.file_name} was changed"):
        await migrate(lambda: empty.migrator, migrations=(edited, *bundled()[1:], NEXT))
    assert len(await migrate(lambda: empty.migrator)) == len(bundled())


async def test_a_newer_schema_is_accepted(empty: Schema) -> None:
    """An older program leaves a newer schema alone, reports it, and works with it."""
    await migrate(lambda: empty.migrator, migrations=(*bundled(), NEXT))
    await run_script(empty.migrator, "grants.sql")
    assert (await migrate(lambda: empty.migrator))[-1].version == NEXT.version
    ledger = PostgresLedger(connector(lambda: empty.worker))
    await ledger.check()
    assert await ledger.schema_version() == NEXT.version
    await ledger.close()


async def test_a_failing_file_leaves_no_trace(empty: Schema) -> None:
    """A migration that fails is named and rolled back whole; those before it stay."""
    broken = Migration.of(NEXT.file_name, "CREATE TABLE resolution.half (); SELECT 1 / 0")
    with pytest.raises(Exception, match=NEXT.file_name):
        await migrate(lambda: empty.migrator, migrations=(*bundled(), broken))
    assert await empty.rows("SELECT to_regclass('resolution.half')::text AS half") == [(None,)]
    assert (await migrate(lambda: empty.migrator))[-1].version == LATEST


async def test_a_table_in_use_is_not_waited_for_long(
    empty: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is not to be had in time ends the migration in words, and is tried later."""
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.2)
    await migrate(lambda: empty.migrator)
    async with connected(empty.superuser) as other, other.transaction():
        await other.execute("LOCK TABLE resolution.ledger IN ACCESS SHARE MODE")
        with pytest.raises(LedgerUnavailable, match=rf"{NEXT.file_name}: a lock could not"):
            await migrate(lambda: empty.migrator, migrations=(*bundled(), NEXT))
    await migrate(lambda: empty.migrator, migrations=(*bundled(), NEXT))


async def test_owning_the_schema_is_enough(empty: Schema) -> None:
    """Where the schema was made for the migrator, it needs no right to create schemas."""
    await empty.execute(
        "CREATE SCHEMA resolution AUTHORIZATION resolution_migrator; DO $$ BEGIN EXECUTE format("
        "'REVOKE CREATE ON DATABASE %I FROM resolution_migrator', current_database()); END $$"
    )
    assert (await migrate(lambda: empty.migrator))[-1].version == LATEST


async def test_a_role_without_rights_is_told_so(empty: Schema) -> None:
    """A role that may not create the schema is told which script helps."""
    with pytest.raises(LedgerUnavailable, match=r"roles\.sql as superuser"):
        await migrate(lambda: empty.worker)


async def test_views_are_as_promised(empty: Schema) -> None:
    """The three views have the promised columns in the promised order and types."""
    await migrate(lambda: empty.migrator)
    rows = await empty.rows(
        "SELECT table_name, string_agg(column_name || ' ' || data_type, ', '"
        " ORDER BY ordinal_position) FROM information_schema.columns JOIN"
        " information_schema.views USING (table_schema, table_name)"
        " WHERE table_schema = 'resolution' GROUP BY table_name"
    )
    assert dict(rows) == VIEWS


async def test_the_probe_names_what_is_missing(empty: Schema) -> None:
    """A worker on a database without schema, rights or version is told the command that helps."""
    ledger = PostgresLedger(connector(lambda: empty.worker))
    with pytest.raises(LedgerUnavailable, match="run `resolution-worker migrate`"):
        await ledger.check()
    await migrate(lambda: empty.migrator)
    with pytest.raises(LedgerUnavailable, match=r"grants\.sql"):
        await ledger.check()
    await run_script(empty.migrator, "grants.sql")
    await ledger.check()
    await empty.execute("REVOKE INSERT ON resolution.agreement FROM resolution_worker")
    with pytest.raises(LedgerUnavailable, match=r"lacks INSERT ON \S+agreement; run .*grants\.sql"):
        await ledger.check()
    await run_script(empty.migrator, "grants.sql")
    await empty.execute("DELETE FROM resolution.schema_migration")
    with pytest.raises(LedgerUnavailable, match=r"version 0.+ migrate"):
        await ledger.check()
    await ledger.close()


async def test_scripts_can_be_run_again(database: Database) -> None:
    """Roles and grants may be applied any number of times."""
    schema = await prepare(database)
    await run_script(schema.superuser, "roles.sql")
    await run_script(schema.migrator, "grants.sql")
    ledger = PostgresLedger(connector(lambda: schema.worker))
    await ledger.check()
    await ledger.close()


def test_the_command_says_what_it_did(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command tells of each migration and of the version on stderr, and lists them as JSON."""
    schema = addresses(database)
    monkeypatch.setenv("WORKER_POSTGRES__ADMIN_DSN", schema.superuser)
    first, second = _run([]), _run(["--json"])
    assert (first.exit_code, first.stdout) == (0, "")
    assert first.stderr.splitlines() == [
        *(f"applied {each.file_name.removesuffix('.sql')}" for each in bundled()),
        f"schema is up to date (version {LATEST})",
    ]
    assert second.stderr == f"schema is up to date (version {LATEST})\n"
    assert [each["version"] for each in orjson.loads(second.stdout)] == [
        each.version for each in bundled()
    ]


def test_the_command_tells_the_database_how_long_to_keep_things(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is set counts from then on, and what is not stays as it was."""
    schema = addresses(database)
    monkeypatch.setenv("WORKER_POSTGRES__ADMIN_DSN", schema.superuser)
    for name, value, word in (("LEDGER", "90d", "90 days"), ("AUDIT", "never", "for ever")):
        with monkeypatch.context() as setting:
            setting.setenv(f"WORKER_RETENTION__{name}", value)
            assert f"how long rows are kept: {name.lower()} {word}\n" in _run([]).stderr
    (kept,) = asyncio.run(schema.rows("SELECT ledger, audit, unresolved FROM resolution.retention"))
    assert tuple(kept) == (timedelta(days=90), None, timedelta(days=7))


def test_the_command_without_a_server_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no server listens the command ends with 69 and a remedy, without a traceback."""
    monkeypatch.setenv("WORKER_POSTGRES__ADMIN_DSN", "postgresql://postgres@127.0.0.1:1/postgres")
    ended = _run([])
    assert (ended.exit_code, ended.stdout) == (69, "")
    assert "start PostgreSQL" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_command_refuses_a_changed_file(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed migration ends the command with 1 and the file's name."""
    monkeypatch.setenv("WORKER_POSTGRES__ADMIN_DSN", database.dsn)
    assert _run([]).exit_code == 0
    first = bundled()[0]
    edited = Migration.of(first.file_name, first.sql + "-- harmless\n")
    monkeypatch.setattr(module, "bundled", lambda: (edited,))
    ended = _run([])
    assert ended.exit_code == 1
    assert first.file_name in ended.stderr


def _run(arguments: list[str]) -> typer.testing.Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, arguments)
