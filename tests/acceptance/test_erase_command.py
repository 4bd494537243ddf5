"""`erase`, as a person on call runs it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.installation import bare_environment
from harness.programs import COMMAND
from harness.schema import addresses, prepare, run_script
from tests.fakes.ledger_suite import letter, resolved
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.sessions import connector
from worker.core.records import Batch

if TYPE_CHECKING:
    from pathlib import Path

    from harness.schema import Schema
    from harness.servers import Database

ACCOUNT = "012345678901"
WHO_AND_WHY = ("--actor", "ada", "--reason", "ticket 7")


@pytest.fixture
async def schema(database: Database) -> Schema:
    """A prepared database with two tokens of one customer, and a letter that names it."""
    prepared = await prepare(database)
    ledger = PostgresLedger(connector(lambda: prepared.worker))
    naming = letter("c", metadata=f'{{"account": "{ACCOUNT}"}}'.encode())
    await ledger.settle(Batch((resolved("a"), resolved("b")), (naming,)))
    await ledger.close()
    return prepared


def environment(dsn: str, home: Path) -> dict[str, str]:
    """Nothing but the database's address."""
    return bare_environment(home) | {"WORKER_POSTGRES__DSN": dsn}


def erase(
    dsn: str, home: Path, *words: str, customer: str = ACCOUNT
) -> subprocess.CompletedProcess[str]:
    """Run the command; it never ends in a traceback."""
    done = subprocess.run(
        [COMMAND, "erase", "--customer", customer, *(words or WHO_AND_WHY)],
        env=environment(dsn, home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def answered(dsn: str, home: Path, answer: str) -> subprocess.CompletedProcess[str]:
    """Run the command on a terminal on which somebody answers."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    try:
        return subprocess.run(
            [COMMAND, "erase", "--customer", ACCOUNT, *WHO_AND_WHY],
            env=environment(dsn, home),
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(theirs)
        os.close(ours)


def counts(text: str) -> dict[str, int]:
    """The printed table by its words."""
    rows = (line.strip().split("  ", 1) for line in text.splitlines())
    return {words: int(count) for count, words in rows}


async def test_look_erase_and_again(schema: Schema, tmp_path: Path) -> None:
    """A dry run counts, the erasure removes just that, and the next finds nothing and says so."""
    looked = erase(schema.operator, tmp_path, *WHO_AND_WHY, "--dry-run", "--json")
    removed = erase(schema.operator, tmp_path, *WHO_AND_WHY, "--yes")
    again = erase(schema.operator, tmp_path, *WHO_AND_WHY, "--yes")
    assert (looked.returncode, removed.returncode, again.returncode) == (0, 0, 1)
    found = json.loads(looked.stdout)
    assert found.pop("dry_run") is True
    assert found == {
        "outcomes": 2,
        "customers": 1,
        "agreements": 2,
        "letters": 1,
        "events": 1,
        "malformed": 0,
        "mentions": 0,
        "audited": 0,
    }
    assert counts(removed.stdout)["tokens in the ledger"] == 2
    assert counts(removed.stdout)["dead letters, with their metadata"] == 1
    assert "Removed, and audited." in removed.stderr
    assert "wait in queues" in removed.stderr
    assert "Nothing is stored of this customer." in again.stderr
    assert ACCOUNT not in looked.stdout + looked.stderr + removed.stdout + removed.stderr
    rows = await schema.rows(
        "SELECT actor, session_user_name, reason, action FROM resolution.audit"
    )
    assert [tuple(row) for row in rows] == [("ada", "resolution_operator", "ticket 7", "erase")]


async def test_nobody_to_ask(schema: Schema, tmp_path: Path) -> None:
    """Without a terminal and without --yes nothing is done, and the words say what to add."""
    done = erase(schema.operator, tmp_path)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert len(await schema.rows("SELECT FROM resolution.ledger")) == 2


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 2), ("y", 0, 0)])
async def test_a_person_is_asked(
    schema: Schema, tmp_path: Path, answer: str, code: int, left: int
) -> None:
    """On a terminal the counts are shown first, and only a yes removes anything."""
    done = answered(schema.operator, tmp_path, answer)
    assert done.returncode == code
    assert "2  tokens in the ledger" in done.stderr
    assert "can't be undone" in done.stderr
    assert len(await schema.rows("SELECT FROM resolution.ledger")) == left


@pytest.mark.parametrize(
    ("customer", "words", "said"),
    [
        ("12345678901", WHO_AND_WHY, "12 digits"),
        ("", WHO_AND_WHY, "neither an AWS account id"),
        ("a b", WHO_AND_WHY, "neither an AWS account id"),
        ("x" * 256, WHO_AND_WHY, "neither an AWS account id"),
        (ACCOUNT, ("--reason", " "), "--reason: 1 to"),
        (ACCOUNT, ("--reason", f"{ACCOUNT} wrote to us"), "stay in the audit"),
        (ACCOUNT, ("--actor", ACCOUNT, "--reason", "r"), "stay in the audit"),
        (ACCOUNT, ("--actor", "ada"), "--reason"),
    ],
)
@pytest.mark.sampled(4)
def test_wrong_usage(customer: str, words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """What can't be meant is refused in words before any database is asked."""
    done = erase("postgresql://127.0.0.1:1/x", tmp_path, *words, "--yes", customer=customer)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


async def test_by_another_name_the_reason_is_refused_too(schema: Schema, tmp_path: Path) -> None:
    """A reason that names the customer by its identifier is found out by the database."""
    done = erase(schema.operator, tmp_path, "--reason", "customer-1 asked", "--yes")
    assert done.returncode == 2
    assert "Nothing was removed" in done.stderr
    assert len(await schema.rows("SELECT FROM resolution.ledger")) == 2


async def test_who_may_not(schema: Schema, tmp_path: Path) -> None:
    """As the worker nothing can be erased, and the words name the role that may."""
    done = erase(schema.worker, tmp_path, *WHO_AND_WHY, "--yes")
    assert done.returncode == 69
    assert "resolution_operator" in done.stderr
    assert len(await schema.rows("SELECT FROM resolution.ledger")) == 2


async def test_a_database_that_is_not_ready(database: Database, tmp_path: Path) -> None:
    """Away, or without a schema: code 69, and what to do."""
    away = erase("postgresql://127.0.0.1:1/x", tmp_path, *WHO_AND_WHY, "--yes")
    assert away.returncode == 69
    assert "no server listens" in away.stderr
    await run_script(database.dsn, "roles.sql")
    empty = erase(addresses(database).operator, tmp_path, *WHO_AND_WHY, "--yes")
    assert empty.returncode == 69
    assert "migrate" in empty.stderr
