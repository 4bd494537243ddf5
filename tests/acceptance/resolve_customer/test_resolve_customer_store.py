"""`resolve-customer --store`: an answer by hand into the worker's database."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest

from harness.installation import simulating
from harness.schema import Schema, connected, prepare
from tests.acceptance.aws_cli import OURS, Ended, Tool, encrypting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.servers import PostgresServer

_TO: Final = ("--endpoint-url", "{url}", "--store")


@pytest.fixture(scope="module")
def schema(postgres_server: PostgresServer) -> Iterator[Schema]:
    """A database as an operator prepares it, for all tests here."""
    with postgres_server.database() as database, ThreadPoolExecutor(1) as executor:
        yield executor.submit(asyncio.run, prepare(database)).result()


@pytest.fixture(scope="module")
def genuine(postgres_server: PostgresServer) -> Iterator[Schema]:
    """A database in which AWS alone makes customers."""
    with postgres_server.database() as database, ThreadPoolExecutor(1) as executor:
        yield executor.submit(asyncio.run, prepare(database, stand_in=False)).result()


@pytest.fixture(scope="module")
def tool(schema: Schema, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tool]:
    """Our command with a simulator and the worker's own role in the database."""
    home = tmp_path_factory.mktemp("store")
    with simulating(home) as simulator:
        more = {"WORKER_POSTGRES__DSN": schema.worker}
        yield Tool(OURS, simulator.url, home, more=more)


def store(tool: Tool, token: str, *more: str, **environment: str) -> Ended:
    """Resolve a token and store what comes of it."""
    return tool.run("--registration-token", "-", *_TO, *more, stdin=token, environment=environment)


async def outcomes(schema: Schema, token: str) -> list[Any]:
    """What stands of a token."""
    fingerprint = sha256(token.encode()).digest()
    return await schema.rows(
        "SELECT * FROM resolution.outcomes WHERE token_sha256 = $1", fingerprint
    )


async def audited(schema: Schema, token: str) -> list[Any]:
    """The audit's entries about a token."""
    return await schema.rows(
        "SELECT * FROM resolution.audit WHERE subject->>'token_sha256' = $1 ORDER BY id",
        sha256(token.encode()).hexdigest(),
    )


async def test_an_answer_is_stored_as_the_worker_would(tool: Tool, schema: Schema) -> None:
    """The outcome and the agreement hold what was printed, under the worker's own rights."""
    ended = store(tool, "ok-stored")

    assert ended.code == 0, ended.err
    printed = json.loads(ended.out)
    (row,) = await outcomes(schema, "ok-stored")
    assert (row["status"], row["seller"], row["attempts"]) == ("resolved", "default", 1)
    assert row["product_code"] == printed["ProductCode"]
    assert row["customer_aws_account_id"] == printed["CustomerAWSAccountId"]
    assert row["customer_identifier"] == printed["CustomerIdentifier"]
    assert row["license_arn"] == printed["LicenseArn"]
    assert row["agreement_id"] == printed["Metadata"]["AgreementId"]
    agreements = await schema.rows(
        "SELECT * FROM resolution.agreements WHERE license_arn = $1", printed["LicenseArn"]
    )
    assert len(agreements) == 1


async def test_who_stored_and_why_is_audited(tool: Tool, schema: Schema) -> None:
    """An entry names actor, reason, endpoint and the role that the server let in; no token."""
    ended = store(tool, "ok-audited", "--actor", "ada", "--reason", "ticket 7")

    assert ended.code == 0, ended.err
    (entry,) = await audited(schema, "ok-audited")
    assert (entry["actor"], entry["reason"]) == ("ada", "ticket 7")
    assert entry["action"] == "resolve-customer.store"
    assert entry["session_user_name"] == "resolution_worker"
    subject = json.loads(entry["subject"])
    assert subject["endpoint"] == tool.url
    assert "ok-audited" not in entry["subject"]


async def test_what_was_resolved_before_stands(tool: Tool, schema: Schema) -> None:
    """A second time changes no outcome, says so, and is audited as well."""
    first = store(tool, "ok-twice")
    before = await outcomes(schema, "ok-twice")
    second = store(tool, "ok-twice")

    assert (first.code, second.code) == (0, 0)
    assert "stored as resolved" in first.err
    assert "its outcome is unchanged" in second.err
    assert await outcomes(schema, "ok-twice") == before
    assert len(await audited(schema, "ok-twice")) == 2


async def test_a_refusal_or_an_unusable_answer_is_not_stored(tool: Tool, schema: Schema) -> None:
    """A refusal by hand may be the fault of the hand: only an answer is kept."""
    refused, empty = store(tool, "invalid-1"), store(tool, "empty-1")

    assert (refused.code, empty.code) == (254, 255)
    assert "Nothing was stored" in empty.err
    for token in ("invalid-1", "empty-1"):
        assert await outcomes(schema, token) == []
        assert await audited(schema, token) == []


async def test_an_endpoint_that_is_not_awss_may_not_write_into_a_real_database(
    tool: Tool, genuine: Schema
) -> None:
    """Customers can't be forged, on loopback either: it is refused before anything is called."""
    ended = store(tool, "ok-forged", WORKER_POSTGRES__DSN=genuine.worker)

    assert ended.code == 253
    assert "forge customers" in ended.err
    assert "migrate --stand-in" in ended.err
    assert tool.url in ended.err
    assert ended.out == b""
    assert await outcomes(genuine, "ok-forged") == []


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--no-verify-ssl",), "--no-verify-ssl"),
        (("--ca-bundle", "{home}/front.crt"), "CA bundle"),
    ],
)
def test_awss_name_alone_proves_nothing(
    tool: Tool, genuine: Schema, option: tuple[str, ...], words: str
) -> None:
    """AWS's own endpoint counts only if its certificate is verified against known authorities."""
    with encrypting(tool.url, tool.home):
        ended = tool.run(
            *("--registration-token", "-", "--store", *option),
            stdin="ok-1",
            environment={
                "WORKER_POSTGRES__DSN": genuine.worker,
                "WORKER_ALLOW_PLAINTEXT": "true",
            },
        )

    assert ended.code == 253
    assert words in ended.err
    assert "forge customers" in ended.err


@pytest.mark.parametrize(
    ("dsn", "code", "words"),
    [
        ("postgresql://postgres@127.0.0.1:1/none", 255, "no server listens there"),
        ("nonsense", 253, "WORKER_POSTGRES__DSN"),
    ],
)
async def test_a_database_that_cannot_be_used_spends_no_call(
    schema: Schema, tmp_path: Path, dsn: str, code: int, words: str
) -> None:
    """The database is looked at before AWS is asked."""
    with simulating(tmp_path) as simulator:
        tool = Tool(OURS, simulator.url, tmp_path, more={"WORKER_POSTGRES__DSN": dsn})
        ended = store(tool, "ok-1")
        calls = await simulator.calls()

    assert ended.code == code
    assert words in ended.err
    assert calls == 0


async def test_a_schema_that_is_too_old_is_told_the_command_that_helps(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """An empty database is named as such."""
    with postgres_server.database() as database, simulating(tmp_path) as simulator:
        more = {"WORKER_POSTGRES__DSN": database.dsn}
        ended = store(Tool(OURS, simulator.url, tmp_path, more=more), "ok-1")

    assert ended.code == 255
    assert "resolution-worker migrate" in ended.err


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE resolution.audit SET actor = 'nobody'",
        "DELETE FROM resolution.audit",
        "TRUNCATE resolution.audit",
        "INSERT INTO resolution.audit (at, actor, reason, action) VALUES (now(), 'a', 'b', 'c')",
        (
            "INSERT INTO resolution.audit (session_user_name, actor, reason, action) "
            "VALUES ('x', 'a', 'b', 'c')"
        ),
    ],
)
async def test_the_audit_only_grows(schema: Schema, statement: str) -> None:
    """The worker's role can't change, delete or date an entry."""
    async with connected(schema.worker) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_an_entry_that_cannot_be_written_takes_the_outcome_with_it(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """What can't be audited is not stored: both stand or fall in one transaction."""
    with postgres_server.database() as database, simulating(tmp_path) as simulator:
        schema = await prepare(database)
        await schema.execute("REVOKE INSERT ON resolution.audit FROM resolution_worker")
        await schema.execute(
            "REVOKE INSERT (actor, reason, action, subject) ON resolution.audit "
            "FROM resolution_worker"
        )
        more = {"WORKER_POSTGRES__DSN": schema.worker}
        ended = store(Tool(OURS, simulator.url, tmp_path, more=more), "ok-1")
        stored = await outcomes(schema, "ok-1")

    assert ended.code == 255
    assert "grants.sql" in ended.err
    assert stored == []
