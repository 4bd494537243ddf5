"""What people on call may do, what they may not, and that nobody can rewrite the audit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

import worker.adapters.postgres
from harness.schema import connected, prepare
from tests.fakes.ledger_suite import failed, letter, resolved
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.sessions import connector
from worker.core.records import Batch

if TYPE_CHECKING:
    from harness.schema import Schema
    from harness.servers import Database

PACKAGE = Path(worker.adapters.postgres.__file__).parent
# By their paths without the ending. All others are the workers'.
RETENTION = ("archive_letters", "prune_*", "shred_payloads", "retention_turn")
OPERATORS = (
    "lookup/*",
    "operator/*",
    "dead_letters/*",
    *(f"rate/{name}" for name in ("row", "replicas", "pause", "resume", "ceiling", "search")),
)
MIGRATORS = ("migration_*", "stand_in_mark")
BOTH = (
    "schema_version",
    "ledger/dead_letter_counts",
    "operator/inspection",
    "operator/periods",
    "operator/record_audit",
    "operator/redeemable_letters",
)

# Parts of other statements, in the order in which one is put into another.
_PARTS = {
    name: (PACKAGE / "dead_letters" / f"{name}.sql").read_text(encoding="utf-8")
    for name in ("claimable_open", "claimable_abandoned", "discardable", "held")
}
CONDITIONS = {
    "claimable": f"({_PARTS['claimable_open']}) AND NOT ({_PARTS['claimable_abandoned']})",
    "discardable": _PARTS["discardable"],
    "held": _PARTS["held"],
    "chosen": "TRUE",
    "given": "$1::json",
}
FORBIDDEN = (
    "DELETE FROM resolution.ledger",
    "DELETE FROM resolution.dead_letter",
    "DELETE FROM resolution.letter_event",
    "DELETE FROM resolution.replay",
    "TRUNCATE resolution.dead_letter",
    "UPDATE resolution.ledger SET status = 'resolved'",
    "INSERT INTO resolution.ledger DEFAULT VALUES",
    "UPDATE resolution.agreement SET product_code = ''",
    "INSERT INTO resolution.dead_letter DEFAULT VALUES",
    "UPDATE resolution.dead_letter SET redeemable_until = now()",
    "UPDATE resolution.dead_letter SET body_sha256 = ''",
    "UPDATE resolution.letter_event SET actor = 'nobody'",
    "UPDATE resolution.replay SET actor = 'nobody'",
    "INSERT INTO resolution.replay (actor, reason, session_user_name) VALUES ('a', 'r', 'x')",
    "INSERT INTO resolution.audit (actor, reason, action, at) VALUES ('a', 'r', 'x', 'epoch')",
    "SELECT resolution.prune_audit('1 s', 1)",
    "SELECT resolution.prune_ledger('1 s', 1)",
    "SELECT resolution.shred_payloads(1)",
    "CREATE TABLE resolution.x (x text)",
    "ALTER TABLE resolution.audit DISABLE TRIGGER ALL",
    "DROP TRIGGER audit_only_grows ON resolution.audit",
    "INSERT INTO resolution.schema_migration VALUES (9999, '', '')",
)
REWRITING = (
    "UPDATE resolution.audit SET actor = 'nobody'",
    "DELETE FROM resolution.audit",
    "TRUNCATE resolution.audit",
    "TRUNCATE resolution.audit CASCADE",
    (
        "INSERT INTO resolution.audit OVERRIDING SYSTEM VALUE SELECT * FROM resolution.audit"
        " ON CONFLICT (id) DO UPDATE SET actor = 'nobody'"
    ),
    "MERGE INTO resolution.audit USING (SELECT 1) AS x ON true WHEN MATCHED THEN DELETE",
)


@pytest.fixture
async def schema(database: Database) -> Schema:
    """A prepared database with rows, and an entry in the audit."""
    prepared = await prepare(database)
    ledger = PostgresLedger(connector(lambda: prepared.worker))
    await ledger.settle(Batch((resolved("a"), failed("b")), (letter("b"),)))
    await ledger.close()
    async with connected(prepared.operator) as operator:
        await operator.execute(
            "INSERT INTO resolution.audit (actor, reason, action) VALUES ('ada', 'r', 'x')"
        )
    return prepared


def files(*patterns: str) -> set[Path]:
    """The statements at these places."""
    return {path for pattern in patterns for path in PACKAGE.glob(f"{pattern}.sql")}


OF_RETENTION = files(*(f"dead_letters/{pattern}" for pattern in RETENTION))
OF_PARTS = files(*(f"dead_letters/{name}" for name in _PARTS))
OF_OPERATORS = (files(*OPERATORS) | files(*BOTH)) - OF_RETENTION - OF_PARTS
OF_WORKERS = files("*", "*/*") - files(
    "migrations/*", *MIGRATORS
) - OF_OPERATORS - OF_PARTS | files(*BOTH)


async def refused(dsn: str, paths: set[Path]) -> dict[str, str]:
    """What the server refuses to plan as this role, and why; nothing is run."""
    found = {}
    async with connected(dsn) as connection:
        for path in sorted(paths):
            sql = path.read_text(encoding="utf-8")
            for name, condition in CONDITIONS.items():
                sql = sql.replace(f"{{{name}}}", condition)
            try:
                await connection.execute(f"EXPLAIN (GENERIC_PLAN) {sql}")
            except asyncpg.InsufficientPrivilegeError as error:
                found[path.name] = str(error)
    return found


async def test_every_query_of_a_command_is_allowed(schema: Schema) -> None:
    """Each query that on-call's commands ask can be asked as the operator."""
    assert len(OF_OPERATORS) > 30
    assert await refused(schema.operator, OF_OPERATORS) == {}


async def test_every_query_of_a_worker_is_allowed(schema: Schema) -> None:
    """Each query that a worker asks can be asked as the worker: who adds one must grant it."""
    assert len(OF_WORKERS) > 20
    assert await refused(schema.worker, OF_WORKERS) == {}


async def test_refusals_are_noticed(schema: Schema) -> None:
    """What the two tests above rely on: planning a query checks the rights to it."""
    forbidden = await refused(schema.worker, OF_OPERATORS)
    assert {"open_payloads.sql", "erase_customer.sql", "reseal.sql"} <= forbidden.keys()


async def test_the_operator_may_not(schema: Schema) -> None:
    """People on call forge no outcome, delete nothing, and change no history."""
    async with connected(schema.operator) as operator:
        for forbidden in FORBIDDEN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await operator.execute(forbidden)


async def test_the_audit_says_who_was_let_in(schema: Schema) -> None:
    """Whatever the actor says, the entry has the role that logged in."""
    rows = await schema.rows("SELECT actor, session_user_name FROM resolution.audit")
    assert [tuple(row) for row in rows] == [("ada", "resolution_operator")]


async def test_even_careless_grants_open_no_way_to_rewrite_the_audit(schema: Schema) -> None:
    """With all rights on the table, each role but its owner still can only add to it."""
    await schema.execute(
        "GRANT ALL ON resolution.audit TO resolution_worker, resolution_operator, resolution_reader"
    )
    for role in ("resolution_worker", "resolution_operator", "resolution_reader", "postgres"):
        async with connected(schema.superuser) as connection:
            await connection.execute(f"SET SESSION AUTHORIZATION {role}")
            for statement in REWRITING:
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
                    await connection.execute(statement)
    rows = await schema.rows("SELECT actor FROM resolution.audit")
    assert [row["actor"] for row in rows] == ["ada"]


async def test_nobody_makes_a_function_do_something_else(schema: Schema) -> None:
    """Functions that run as the owner have a path of their own, and are called by whom it says."""
    rows = await schema.rows(
        "SELECT proname, proconfig, prosecdef, (SELECT array_agg(grantee::regrole::text ORDER BY 1)"
        " FROM aclexplode(proacl) WHERE grantee <> proowner) AS callers FROM pg_proc"
        " WHERE pronamespace = 'resolution'::regnamespace"
    )
    owners = {row["proname"]: row for row in rows if row["prosecdef"]}
    assert {tuple(row["proconfig"]) for row in rows} == {("search_path=pg_catalog, pg_temp",)}
    callers = {name: row["callers"] for name, row in owners.items()}
    by_hand = {"erase_customer", "open_payloads", "reseal_payloads"}
    by_either = {"acknowledge_queues", "pause", "resume", "search_again", "set_ceiling"}
    assert {name for name, who in callers.items() if who == ["resolution_operator"]} == by_hand
    assert {name for name, who in callers.items() if len(who) == 2} == by_either
    others = callers.keys() - by_hand - by_either
    assert all(callers[name] == ["resolution_worker"] for name in others)
    assert all(row["callers"] is None for row in rows if not row["prosecdef"])


async def test_bounds_stand_on_the_operators_role(schema: Schema) -> None:
    """Nobody on call holds a lock, or an open transaction, for as long as they like."""
    async with connected(schema.operator) as operator:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert await operator.fetchval("SELECT current_setting($1)", name) != "0"


async def test_a_person_with_a_role_of_their_own_is_named(schema: Schema) -> None:
    """Who was granted the operator's role may do the same, and the audit has their own name."""
    await schema.execute("CREATE ROLE person_on_call LOGIN IN ROLE resolution_operator")
    try:
        async with connected(schema.superuser) as person:
            await person.execute("SET SESSION AUTHORIZATION person_on_call")
            await person.execute(
                "INSERT INTO resolution.audit (actor, reason, action) VALUES ('eve', 'r', 'x')"
            )
            erasing = "SELECT sum(entries) FROM resolution.erase_customer($1, NULL, 'ada', 'r')"
            assert await person.fetchval(erasing, "customer-1") > 0
        rows = await schema.rows("SELECT actor, session_user_name FROM resolution.audit OFFSET 1")
        assert {tuple(row) for row in rows} == {
            ("eve", "person_on_call"),
            ("ada", "person_on_call"),
        }
    finally:
        await schema.execute("DROP ROLE person_on_call")
