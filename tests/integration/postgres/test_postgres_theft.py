"""What a thief of the worker's password can't do, under the shipped roles."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import structlog

from harness.schema import connected, prepare, run_script
from tests.fakes.ledger_suite import failed, letter, resolved, unreadable
from tests.integration.fleets import HUNGRY, SOUND, crew
from worker.adapters.postgres.ledger.event_outbox import PostgresOutbox
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.ledger.settlement import write
from worker.adapters.postgres.sessions import Session, connector
from worker.core.records import Batch, LetterReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.schema import Schema
    from harness.servers import Database

# What the schema's owner alone may do, or does by a function; each was an attack that worked.
DENIED = {
    "a pause under another's name": (
        "UPDATE resolution.quota SET pause_actor = 'ada', pause_reason = 'r', paused_at = now()"
    ),
    "a state that is nonsense": "UPDATE resolution.quota SET state = '[1]'",
    "a permit for ever": "UPDATE resolution.quota SET next_permit_at = 'infinity'",
    "no probe any more": "UPDATE resolution.quota SET last_probe_at = 'infinity'",
    "a ghost that never expires": (
        "INSERT INTO resolution.replica (seller, id, need, granted, ceiling, identity, version,"
        " seen_at, expires_at) VALUES ('default', 'ghost', 0, 0, 0.0001, '', '', now(), 'infinity')"
    ),
    "others' leases": "UPDATE resolution.replica SET expires_at = '-infinity'",
    "others' rows": "DELETE FROM resolution.replica",
    "older letters": "UPDATE resolution.dead_letter SET failed_at = '-infinity'",
    "letters past saving": "UPDATE resolution.dead_letter SET redeemable_until = '-infinity'",
    "letters closed": "UPDATE resolution.dead_letter SET state = 'discarded'",
    "payloads gone": "UPDATE resolution.dead_letter SET sealed = NULL",
    "letters under ids to come": (
        "INSERT INTO resolution.dead_letter (id, seller, reason, error_code, error_message,"
        " body_sha256, message_id, lane, attempts, received_at, first_failed_at, failed_at, sealed,"
        " seal_key_id, body_bytes) OVERRIDING SYSTEM VALUE SELECT n, 'default', 'dead', '', '',"
        " sha256(n::text::bytea), n, 'live', 1, now(), now(), now(), 'x', 'k', 1"
        " FROM generate_series(1, 1000) AS n"
    ),
    "history under ids to come": (
        "INSERT INTO resolution.letter_event (id, letter_id, kind) OVERRIDING SYSTEM VALUE"
        " VALUES (1000, 1, 'failed')"
    ),
    "events under ids to come": (
        "INSERT INTO resolution.event_outbox (id, routing_key, message_id, body)"
        " OVERRIDING SYSTEM VALUE VALUES (1000, 'x', 'x', 'x')"
    ),
    "shorter periods": "UPDATE resolution.retention SET ledger = '1 day'",
    "counts": "UPDATE resolution.letter_count SET letters = 1000000",
    "another's licence": "UPDATE resolution.agreement SET license_arn = 'arn'",
    "another's customer": "UPDATE resolution.customer SET seller = 'other'",
    "payloads": "SELECT resolution.open_payloads('[\"1\"]', 'a', 'r', 'dead-letters.reveal', null)",
    "the audit's writer": "SELECT resolution.write_audit('a', 'r', 'x', null)",
    "the playground's mark": "INSERT INTO resolution.stand_in DEFAULT VALUES",
}
LEASE = (
    "SELECT resolution.lease($1, $2, $3::text::json, $4, false, 1, $5, 1, $6, $7, 'x',"
    " $8::text::json)"
)
TOLD = json.dumps({"identity": "", "probes": 0, "suspected": 0})

UNREADABLE = (
    "UPDATE resolution.ledger SET settled_at = 'infinity' WHERE status <> 'resolved'",
    "UPDATE resolution.ledger SET received_at = '-infinity' WHERE status <> 'resolved'",
    "UPDATE resolution.ledger SET first_seen_at = '290000-01-01' WHERE status <> 'resolved'",
    "UPDATE resolution.ledger SET error_message = repeat('x', 70000) WHERE status <> 'resolved'",
    "INSERT INTO resolution.event_outbox (routing_key, message_id, body) VALUES ('x', 'x', 'x')",
    (
        "INSERT INTO resolution.event_outbox (routing_key, message_id, body)"
        " VALUES ('token.dead', repeat('x', 256)::bytea, 'x')"
    ),
)
# By the argument's place.
NO_LEASE: tuple[dict[int, object], ...] = (
    {2: -1},
    {3: "[1]"},
    {3: '"x"'},
    {3: json.dumps({"x": "y" * 9000})},
    {4: 1e-4},
    {4: math.nan},
    {4: math.inf},
    {4: None},
    {5: "x" * 201},
    {6: 1e9},
    {7: 1e-4},
)


@pytest.fixture
async def schema(database: Database) -> Schema:
    """A prepared database with a row in every table."""
    prepared = await prepare(database)
    ledger = PostgresLedger(connector(lambda: prepared.worker))
    batch = Batch((resolved("a"), failed("b")), (letter("b"),), (unreadable("m"),))
    await ledger.settle(batch)
    await ledger.close()
    return prepared


@pytest.fixture
async def thief(schema: Schema) -> AsyncIterator[Any]:
    """A session with the worker's password."""
    async with connected(schema.worker) as connection:
        yield connection


async def test_what_only_the_owner_may(thief: Any) -> None:
    """None of what once worked with the worker's password alone works any more."""
    done = []
    for attack, statement in DENIED.items():
        with suppress(asyncpg.InsufficientPrivilegeError):
            await thief.execute(statement)
            done.append(attack)
    assert done == []


async def test_a_lease_says_what_replicas_say(thief: Any) -> None:
    """No ceiling of next to nothing, no state that is none, nothing else that no replica writes."""
    taken = []
    for change in NO_LEASE:
        arguments = ["default", 0, '{"rate": 1}', 1.0, "ghost", 1.0, None, TOLD]
        for place, value in change.items():
            arguments[place - 1] = value
        with suppress(asyncpg.InvalidParameterValueError):
            await thief.fetchval(LEASE, *arguments)
            taken.append(change)
    assert taken == []


async def test_a_ghost_is_gone_in_seconds(schema: Schema, thief: Any) -> None:
    """What a thief can still be is a replica for as long as he stays, and three seconds more."""
    taken = ("default", 0, '{"rate": 1}', 1.0, "ghost", 0.0, 0.01, TOLD)
    assert await thief.fetchval(LEASE, *taken)
    ((left,),) = await schema.rows("SELECT expires_at - now() FROM resolution.replica")
    assert 0 < left.total_seconds() <= 3


async def test_a_letter_told_again_is_no_worse(schema: Schema, thief: Any) -> None:
    """Whoever tells a letter again can't exchange its payload, age it, or put it beyond saving."""
    row = {
        "seller": "default",
        "reason": "dead",
        "error_code": "x",
        "error_message": "x",
        "body_sha256": "\\x" + letter("b").body_sha256.hex(),
        "message_id": letter("b").message_id,
        "lane": "live",
        "attempts": 1,
        "received_at": "2000-01-01",
        "failed_at": "9999-01-01",
        "redeemable_until": "2000-01-01",
        "sealed": "\\x00",
        "seal_key_id": "forged",
        "body_bytes": 1,
        "group_key": "g",
    }
    before = (await schema.rows("SELECT * FROM resolution.dead_letter"))[0]
    await thief.fetch("SELECT resolution.tell_letters($1::text::json)", json.dumps([row]))
    after = (await schema.rows("SELECT *, failed_at <= now() AS told FROM resolution.dead_letter"))[
        0
    ]
    kept = ("id", "state", "sealed", "seal_key_id", "redeemable_until", "first_failed_at")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert after["told"]
    for older_than in ("0 s", "-1000 years"):
        interval = f"'{older_than}'::interval"
        assert await thief.fetchval(f"SELECT resolution.prune_letters({interval}, 1000)") == 0
    assert await thief.fetchval("SELECT resolution.archive_letters(1000)") == 0
    assert await thief.fetchval("SELECT resolution.shred_payloads(1000)") == 0


async def test_letters_of_tokens_that_are_not_resolved_are_not_closed(
    schema: Schema, thief: Any
) -> None:
    """Only what the ledger says closes a letter."""
    token = {"seller": "default", "token_sha256": "\\x" + (letter("b").token_sha256 or b"").hex()}
    await thief.fetch("SELECT resolution.close_letters($1::text::json)", json.dumps([token]))
    ((state,),) = await schema.rows("SELECT state FROM resolution.dead_letter")
    assert state == "open"


async def test_periods_are_the_owners(schema: Schema, thief: Any) -> None:
    """Whatever a worker asks for, nothing goes before the database's own period is over."""
    await schema.execute(
        "ALTER TABLE resolution.ledger DISABLE TRIGGER ALL;"
        "UPDATE resolution.ledger SET settled_at = now() - interval '6 days';"
        "INSERT INTO resolution.audit (at, actor, reason, action)"
        " SELECT now() - interval '399 days', 'a', 'r', 'x';"
    )
    for older_than in ("0 s", "1 day", "-1000 years"):
        for function in ("prune_ledger", "prune_unresolved", "prune_audit", "prune_malformed"):
            asked = f"SELECT resolution.{function}('{older_than}'::interval, 1000)"
            assert await thief.fetchval(asked) == 0, function
    ((rows,),) = await schema.rows("SELECT count(*) FROM resolution.ledger")
    assert rows == 2


async def test_nonsense_in_the_shared_row_is_replaced(schema: Schema) -> None:
    """A state that no version has written stops no replica: it is told, and replaced."""
    async with crew(schema) as fleet:
        one = fleet.replica()
        await one.lease(HUNGRY, SOUND)
        for state in ("[1]", "1", '{"rate": 1e400}', '{"rate": "x"}'):
            await schema.execute(f"UPDATE resolution.quota SET state = '{state}'")
            with structlog.testing.capture_logs() as log:
                assert (await one.lease(HUNGRY, SOUND)).rate > 0
            assert [entry["event"] for entry in log] == ["rate_state_replaced"]
    ((kind,),) = await schema.rows("SELECT jsonb_typeof(state) FROM resolution.quota")
    assert kind == "object"


async def test_no_row_ends_who_reads_it(schema: Schema, thief: Any) -> None:
    """No outcome has a time beyond all calendars, and no event is one that can't be sent."""
    written = []
    for statement in UNREADABLE:
        with suppress(asyncpg.CheckViolationError):
            await thief.execute(statement)
            written.append(statement)
    assert written == []
    await thief.execute(
        "INSERT INTO resolution.event_outbox (routing_key, message_id, body)"
        " VALUES ('token.dead', '\\xff00', 'x');"
        "INSERT INTO resolution.event_outbox_turn VALUES (true, 'ghost', 'infinity')"
    )
    outbox = PostgresOutbox(connector(lambda: schema.worker))
    turn = await outbox.take("token.dead", 10, ())
    assert turn is not None
    ((_, event),) = turn.events
    assert event.message_id == "\ufffd\0"
    await outbox.close()


async def test_nothing_is_revoked_under_an_older_worker(schema: Schema) -> None:
    """While a worker of the version before is leased its rights stay; afterwards they go."""
    await run_script(schema.migrator, "grants.sql")
    await schema.execute(
        "INSERT INTO resolution.replica (seller, id, need, granted, identity, version, seen_at,"
        " expires_at) VALUES ('default', 'old', 0, 0, '', '0.1', now(), now() + interval '1 h')"
    )
    held = "SELECT has_table_privilege('resolution_worker', 'resolution.quota', 'UPDATE')"
    await run_script(schema.migrator, "revoke.sql")
    assert (await schema.rows(held))[0][0]
    await schema.execute("UPDATE resolution.replica SET expires_at = now()")
    await run_script(schema.migrator, "revoke.sql")
    assert not (await schema.rows(held))[0][0]


async def test_people_open_payloads_audited_or_not_at_all(schema: Schema) -> None:
    """The operator reads no payload but by the function, which says so before it hands it out."""
    opening = "SELECT sealed FROM resolution.open_payloads('[1]', $1, $2, $3, null)"
    async with connected(schema.operator) as operator:
        for denied in (
            "SELECT sealed FROM resolution.dead_letter",
            "SELECT * FROM resolution.dead_letter",
            "UPDATE resolution.dead_letter SET sealed = ''",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await operator.execute(denied)
        for words in (
            ("", "r", "dead-letters.reveal"),
            ("a", "", "dead-letters.reveal"),
            ("a", "r", "x"),
        ):
            with pytest.raises(asyncpg.InvalidParameterValueError):
                await operator.fetchval(opening, *words)
        assert await operator.fetchval(opening, "ada", "ticket 1", "dead-letters.reveal")
    rows = await schema.rows(
        "SELECT actor, reason, action, session_user_name FROM resolution.audit"
    )
    assert [tuple(row) for row in rows] == [
        ("ada", "ticket 1", "dead-letters.reveal", "resolution_operator")
    ]


async def test_a_flood_leaves_a_count(schema: Schema) -> None:
    """Beyond the bound of an hour letters and notes are counted alone; what AWS breaks is kept."""
    await schema.execute("UPDATE resolution.ledger SET settled_at = now()")
    ledger = PostgresLedger(connector(lambda: schema.worker))
    many = 1_500
    for kind in (LetterReason.REJECTED, LetterReason.DEAD):
        for round_ in range(2):
            names = [f"{kind}-{round_}-{number}" for number in range(many)]
            batch = tuple(replace(letter(name), reason=kind, error_message="x") for name in names)
            await ledger.settle(Batch((), batch))
    for round_ in range(2):
        await ledger.settle(Batch((), (), tuple(unreadable(f"{round_}-{n}") for n in range(many))))
    await ledger.close()
    rows = await schema.rows(
        "SELECT reason, count(*) FROM resolution.dead_letter WHERE message_id <> $1"
        " GROUP BY reason ORDER BY reason",
        letter("b").message_id,
    )
    assert [tuple(row) for row in rows] == [("dead", 3_000), ("rejected", 2_000)]
    ((noted,),) = await schema.rows("SELECT count(*) FROM resolution.malformed_message")
    assert noted == 2_000
    rows = await schema.rows(
        "SELECT sum(letters) - max(bound) FROM resolution.letter_count GROUP BY group_key"
    )
    assert {int(row[0]) for row in rows} == {1_000, 1_001}


async def test_who_hangs_holds_up_nobody_elses_letters(schema: Schema) -> None:
    """While one session has told a letter of a group and does not commit, others tell theirs."""
    ledger = PostgresLedger(connector(lambda: schema.worker), call_seconds=2.0)
    first, second = (
        Batch((), (replace(letter(name), reason=LetterReason.REJECTED),), (unreadable(name),))
        for name in ("hangs", "goes on")
    )
    async with connected(schema.worker) as hung, hung.transaction():
        await write(Session(hung, statement_cache=False), first)
        await ledger.settle(second)
    await ledger.close()
    ((letters,),) = await schema.rows(
        "SELECT count(*) FROM resolution.dead_letter WHERE reason = 'rejected'"
    )
    assert letters == 2
