"""A database whose encoding can't hold all of Unicode: refused by all, with one diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from harness.schema import addresses, prepare, run_script
from tests.fakes.ledger_suite import key, resolved
from worker.adapters.postgres import migrate as migrations
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.migrate import MigrationRefused, migrate
from worker.adapters.postgres.sessions import connector, only_unicode
from worker.app.diagnosis import database as checks
from worker.app.diagnosis.finding import Failed
from worker.cli.main import app
from worker.core.exceptions import LedgerUnavailable
from worker.core.records import Batch
from worker.settings import load

if TYPE_CHECKING:
    from harness.schema import Schema
    from harness.servers import PostgresServer


async def unready(schema: Schema) -> str:
    """Why a worker waits."""
    ledger = PostgresLedger(only_unicode(connector(lambda: schema.worker)))
    with pytest.raises(LedgerUnavailable) as why:
        await ledger.check()
    await ledger.close()
    return str(why.value)


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1251", "EUC_JP"])
@pytest.mark.sampled(2)
async def test_an_encoding_that_is_no_unicode_is_refused(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """`migrate` changes nothing, a worker waits, and `check` says the same as both."""
    with postgres_server.database("template0", encoding) as database:
        schema = addresses(database)
        await run_script(schema.superuser, "roles.sql")
        with pytest.raises(MigrationRefused) as refused:
            await migrate(lambda: schema.migrator)
        said = str(refused.value)
        assert said.startswith(f"the database's encoding is {encoding}, which can't hold")
        assert "ENCODING 'UTF8'" in said
        assert not await schema.rows("SELECT FROM pg_namespace WHERE nspname = 'resolution'")

        assert await unready(schema) == said
        with monkeypatch.context() as earlier:  # a version that did not look has migrated it
            earlier.setattr(migrations, "unfit_encoding", lambda _: None)
            await prepare(database)
        assert await unready(schema) == said

        monkeypatch.setenv("WORKER_POSTGRES__DSN", schema.worker)
        with pytest.raises(Failed) as failed:
            await checks.connection(load())
        assert f"{failed.value.detail}; {failed.value.remedy}" == said


def test_migrate_ends_with_an_error(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends with 1 and names encoding and remedy."""
    with postgres_server.database("template0", "LATIN1") as database:
        monkeypatch.setenv("WORKER_POSTGRES__DSN", database.dsn)
        done = CliRunner().invoke(app, ["migrate"])
    assert done.exit_code == 1
    assert "encoding is LATIN1" in done.stderr
    assert "template0" in done.stderr


async def test_bytes_as_they_come_are_unicode_too(postgres_server: PostgresServer) -> None:
    """SQL_ASCII keeps what is sent, and all our programs send UTF-8."""
    with postgres_server.database("template0", "SQL_ASCII") as database:
        schema = await prepare(database)
        ledger = PostgresLedger(only_unicode(connector(lambda: schema.worker)))
        await ledger.check()
        order, offer = "заказ-42", "30 € \N{GRINNING FACE}"
        await ledger.settle(Batch((resolved("t", message_id=order, offer_type=offer),)))
        stands = (await ledger.find_outcomes([key("t")]))[key("t")]
        await ledger.close()
        assert (stands.message_id, stands.offer_type) == (order, offer)
