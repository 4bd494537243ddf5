"""Retention on a real PostgreSQL, under the worker's own role."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from harness.schema import addresses, connected, run_script
from tests.fakes.ledger_suite import failed, letter, resolved
from worker.adapters.metrics import Metrics
from worker.adapters.postgres.dead_letters.retention import PostgresRetention
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.migrate import bundled, migrate
from worker.adapters.postgres.sessions import connector
from worker.app import retention
from worker.core.dead_letters import retention as rules
from worker.core.dead_letters.retention import BATCH_ROWS, Chore, Periods, Task, tasks
from worker.core.records import Batch, Status
from worker.runtime.dead_letters.retention import Retention
from worker.settings import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from harness.schema import Schema
    from harness.servers import Database

DAY = timedelta(days=1)
NO_SESSION = (
    "SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'resolution_worker'"
    " AND datname = current_database()"
)
INSTANT = timedelta(0)  # what somebody asks for who wants all gone
PERIODS = Periods(ledger=90 * DAY, unresolved=7 * DAY, dead_letters=30 * DAY, audit=400 * DAY)
PRUNED = (
    Chore.PRUNE_LETTERS,
    Chore.PRUNE_MALFORMED,
    Chore.PRUNE_REPLAYS,
    Chore.PRUNE_LEDGER,
    Chore.PRUNE_UNRESOLVED,
    Chore.PRUNE_AUDIT,
)


class Kept:
    """A prepared database, the worker's retention, and a way to put old things there.

    Attributes:
        done: Rows by chore, as the metrics are told.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.keeper = PostgresRetention(connector(lambda: schema.worker))
        self.done: dict[Chore, int] = {}
        self.rounds = 0

    def retained(self, chore: Chore, rows: int) -> None:
        """Count."""
        self.done[chore] = self.done.get(chore, 0) + rows

    def round_ended(self) -> None:
        """Count."""
        self.rounds += 1

    async def round(self, periods: Periods = PERIODS) -> Mapping[Chore, int]:
        """Do a round; what it did."""
        self.done.clear()
        await Retention(self.keeper, tasks(periods), self).round()
        return {chore: rows for chore, rows in self.done.items() if rows}

    async def letters(
        self,
        names: str,
        *,
        count: int = 1,
        state: str = "open",
        reason: str = "dead",
        age: str = "0 s",
        redeemable: str | None = None,
        closed: str | None = None,
        claimed: str | None = None,
    ) -> None:
        """Put letters there that failed as long ago as `age` says, and can be saved until then."""
        await self.schema.rows(
            "INSERT INTO resolution.dead_letter (seller, state, reason, error_code, error_message,"
            " token_sha256, body_sha256, message_id, lane, attempts, received_at, first_failed_at,"
            " failed_at, redeemable_until, closed_at, claimed_at, sealed, seal_key_id, body_bytes)"
            " SELECT 'default', $2, $3, 'Timeout', '', sha256((n || $1)::bytea),"
            " sha256((n || $1)::bytea), $1, 'live', 1, now() - $5::text::interval,"
            " now() - $5::text::interval, now() - $5::text::interval,"
            " now() + $6::text::interval, now() - $7::text::interval, now() - $8::text::interval,"
            " 'payload', 'k', 7 FROM generate_series(1, $4::int) AS n",
            *(names, state, reason, count, age, redeemable, closed, claimed),
        )

    async def states(self) -> dict[str, tuple[str, bool, list[str]]]:
        """State, whether the payload is there, and the history of each letter."""
        rows = await self.schema.rows(
            "SELECT message_id, state, sealed IS NOT NULL, shredded_at IS NULL,"
            " ARRAY(SELECT kind FROM resolution.letter_event AS event"
            " WHERE letter_id = letter.id ORDER BY event.id) FROM resolution.dead_letter AS letter"
        )
        assert all(row[2] == row[3] for row in rows)
        return {row[0]: (row[1], row[2], row[4]) for row in rows}

    async def count(self, table: str) -> int:
        """Rows of a table."""
        ((rows,),) = await self.schema.rows(f"SELECT count(*) FROM resolution.{table}")
        return int(rows)


@pytest.fixture
async def kept(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    """A prepared, empty database, which is never too busy for a whole round."""
    monkeypatch.setattr(rules, "BUSY_SECONDS", 60.0)
    kept = Kept(schema)
    yield kept
    await kept.keeper.rest()


async def test_payloads_go_with_the_tokens_life(kept: Kept) -> None:
    """A payload is shredded once its token is worthless, in whatever state its letter is."""
    await kept.letters("young", age="3 h 59 min", redeemable="1 min")
    await kept.letters("saved by a publisher's clock", age="5 h", redeemable="1 min")
    await kept.letters("old", age="4 h 1 min", redeemable="-1 min")
    await kept.letters("expired", reason="expired", age="4 h 1 min")
    await kept.letters("resolved", state="resolved", age="5 h", closed="1 h")
    done = await kept.round()
    assert done == {Chore.SHRED: 3}
    assert await kept.states() == {
        "young": ("open", True, []),
        "saved by a publisher's clock": ("open", True, []),
        "old": ("open", False, ["shredded"]),
        "expired": ("open", False, ["shredded"]),
        "resolved": ("resolved", False, ["shredded"]),
    }
    assert await kept.round() == {}


async def test_evidence_is_kept_for_a_day(kept: Kept) -> None:
    """What nobody could read, or what was parked, can be looked into for a day."""
    for reason in ("malformed", "parked"):
        await kept.letters(f"{reason} today", reason=reason, age="23 h")
        await kept.letters(f"{reason} before", reason=reason, age="25 h")
    assert (await kept.round())[Chore.SHRED] == 2
    assert {name for name, (_, payload, _) in (await kept.states()).items() if payload} == {
        "malformed today",
        "parked today",
    }


async def test_a_letter_in_a_replay_is_left_alone(kept: Kept) -> None:
    """What a replay has just claimed keeps its payload and state; a forgotten claim does not."""
    await kept.letters("held", state="replaying", age="30 h", redeemable="-26 h", claimed="5 min")
    await kept.letters(
        "forgotten", state="replaying", age="50 h", redeemable="-46 h", claimed="2 d"
    )
    await kept.round()
    assert await kept.states() == {
        "held": ("replaying", True, []),
        "forgotten": ("archived", False, ["shredded", "archived"]),
    }


async def test_letters_past_saving_are_archived_a_day_later(kept: Kept) -> None:
    """On-call sees for a day what can't be saved any more; then it is put away, shredded before."""
    await kept.letters("redeemable", age="3 h", redeemable="1 h")
    await kept.letters("tonight", age="26 h", redeemable="-22 h")
    await kept.letters("yesterday", age="29 h", redeemable="-25 h")
    await kept.letters("expired tonight", reason="expired", age="23 h")
    await kept.letters("expired yesterday", reason="expired", age="25 h")
    await kept.round()
    states = await kept.states()
    assert {name for name, (state, _, _) in states.items() if state == "archived"} == {
        "yesterday",
        "expired yesterday",
    }
    assert states["yesterday"] == ("archived", False, ["shredded", "archived"])
    rows = await kept.schema.rows(
        "SELECT closed_at > now() - interval '1 min' FROM resolution.dead_letter"
        " WHERE state = 'archived'"
    )
    assert [bool(row[0]) for row in rows] == [True, True]


async def test_a_letter_that_fails_again_is_whole_again(kept: Kept) -> None:
    """A letter told anew after it was shredded and archived is open, with its new payload."""
    ledger = PostgresLedger(connector(lambda: kept.schema.worker))
    batch = Batch((failed("t"),), (letter("t", redeemable_until=None),))
    await ledger.settle(batch)
    await kept.schema.execute(
        "UPDATE resolution.dead_letter SET failed_at = now() - interval '2 d',"
        " received_at = now() - interval '2 d'"
    )
    await kept.round()
    assert [state[:2] for state in (await kept.states()).values()] == [("archived", False)]
    again = letter("t", failed_at=10**6, redeemable_until=None)
    await ledger.settle(Batch((failed("t", settled=10**6),), (again,)))
    await ledger.close()
    assert [state[:2] for state in (await kept.states()).values()] == [("open", True)]
    closed = await kept.schema.rows("SELECT closed_at FROM resolution.dead_letter")
    assert [row[0] for row in closed] == [None]


async def test_old_letters_go_with_their_history(kept: Kept) -> None:
    """Letters closed longer ago than the period go, in batches; open ones stay, however old."""
    for state in ("resolved", "discarded", "archived"):
        await kept.letters(f"old {state}", count=400, state=state, age="40 d", closed="31 d")
        await kept.letters(f"new {state}", state=state, age="40 d", closed="29 d")
    await kept.letters("open", age="40 d", redeemable="1 h")
    done = await kept.round()
    assert done == {Chore.SHRED: 1203, Chore.PRUNE_LETTERS: 1200}
    assert set(await kept.states()) == {"open", "new resolved", "new discarded", "new archived"}
    assert await kept.count("letter_event") == 3


async def test_old_notes_replays_outcomes_and_entries_go(kept: Kept) -> None:
    """Each table is pruned by its own period; customers and agreements are not."""
    ledger = PostgresLedger(connector(lambda: kept.schema.worker))
    await ledger.settle(Batch((resolved("old"), resolved("new"), failed("failed"))))
    await ledger.close()
    await kept.letters("replayed", age="40 d", redeemable="1 h")
    await kept.schema.execute(
        "UPDATE resolution.ledger SET settled_at = now() - interval '1 d' * CASE"
        " WHEN status <> 'resolved' THEN 8 WHEN message_id LIKE 'message-new%' THEN 89 ELSE 91 END;"
        "UPDATE resolution.retention SET ledger = '90 d';"
        "INSERT INTO resolution.malformed_message SELECT sha256(n::text::bytea), n, 'r', 'epoch',"
        " now() - n * interval '1 d' FROM generate_series(25, 34) AS n;"
        "INSERT INTO resolution.replay (actor, reason, state, heartbeat_at) SELECT 'a', n::text,"
        " CASE WHEN n % 2 = 0 THEN 'running' ELSE 'finished' END, now() - n * interval '1 d'"
        " FROM generate_series(25, 34) AS n;"
        "UPDATE resolution.dead_letter SET replay_id ="
        " (SELECT id FROM resolution.replay WHERE reason = '33');"
        "INSERT INTO resolution.letter_event (letter_id, kind, replay_id) SELECT letter.id,"
        " 'claimed', replay.id FROM resolution.dead_letter AS letter, resolution.replay"
        " WHERE replay.reason = '34';"
    )
    async with connected(kept.schema.migrator) as owner:
        await owner.execute(
            "INSERT INTO resolution.audit (at, actor, reason, action)"
            " SELECT now() - n * interval '1 d', 'a', n::text, 'x' FROM generate_series(395, 404) n"
        )
    done = await kept.round()
    assert done == {
        Chore.PRUNE_MALFORMED: 5,
        Chore.PRUNE_REPLAYS: 3,
        Chore.PRUNE_LEDGER: 1,
        Chore.PRUNE_UNRESOLVED: 1,
        Chore.PRUNE_AUDIT: 5,
    }
    replays = await kept.schema.rows("SELECT reason FROM resolution.replay ORDER BY reason")
    assert [row[0] for row in replays] == ["25", "26", "27", "28", "29", "33", "34"]
    assert await kept.count("ledger") == 1
    assert await kept.count("agreement") == 2
    assert await kept.count("customer") == 1


async def test_what_is_kept_for_ever_is_not_asked_about(kept: Kept) -> None:
    """Without periods nothing is deleted, and payloads are shredded all the same."""
    await kept.letters("old", state="resolved", age="900 d", closed="900 d")
    assert await kept.round(Periods(None, None, None, None)) == {Chore.SHRED: 1}
    assert set(await kept.states()) == {"old"}


async def test_the_floors_hold_whatever_is_asked(kept: Kept) -> None:
    """A worker that asks for everything gets nothing that the database keeps."""
    ledger = PostgresLedger(connector(lambda: kept.schema.worker))
    await ledger.settle(Batch((resolved("t"),)))
    await ledger.close()
    await kept.letters("closed", state="resolved", age="20 h", closed="20 h")
    await kept.schema.execute(
        "UPDATE resolution.ledger SET settled_at = now() - interval '23 h 59 min';"
        "INSERT INTO resolution.malformed_message VALUES (sha256('x'), 'm', 'r', now());"
        "INSERT INTO resolution.replay (actor, reason) VALUES ('a', 'r');"
    )
    async with connected(kept.schema.migrator) as owner:
        await owner.execute(
            "INSERT INTO resolution.audit (at, actor, reason, action)"
            " VALUES (now() - interval '29 d', 'a', 'r', 'x')"
        )
    for chore in PRUNED:
        for age in (INSTANT, -1000 * DAY):
            assert await kept.keeper.batch(Task(chore, age)) == 0, chore
    # Nor can it make anything look older than it is.
    forged = (
        "UPDATE resolution.ledger SET settled_at = 'epoch'",
        "UPDATE resolution.ledger SET status = 'dead', settled_at = 'epoch'",
        "UPDATE resolution.audit SET at = 'epoch'",
        "UPDATE resolution.malformed_message SET noted_at = 'epoch'",
        "UPDATE resolution.replay SET heartbeat_at = 'epoch'",
        "UPDATE resolution.dead_letter SET closed_at = 'epoch'",
    )
    async with connected(kept.schema.worker) as worker:
        for statement in forged:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await worker.execute(statement)


async def test_one_worker_at_a_time(kept: Kept) -> None:
    """While one worker holds the turn another does nothing, and is not kept waiting."""
    await kept.letters("old", age="5 h", redeemable="-1 h")
    async with connected(kept.schema.worker) as other, other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(7310583904412572)")
        async with asyncio.timeout(5):
            assert await kept.round() == {}
        assert kept.rounds == 1
    assert await kept.round() == {Chore.SHRED: 1}


async def test_rows_that_somebody_holds_are_passed_over(kept: Kept) -> None:
    """A letter that a transaction has locked is left for the next time, without waiting for it."""
    await kept.letters("held", age="5 h", redeemable="-1 h")
    await kept.letters("free", age="5 h", redeemable="-1 h")
    async with connected(kept.schema.superuser) as other, other.transaction():
        await other.execute(
            "SELECT FROM resolution.dead_letter WHERE message_id = 'held' FOR UPDATE"
        )
        async with asyncio.timeout(5):
            assert await kept.round() == {Chore.SHRED: 1}
    assert await kept.round() == {Chore.SHRED: 1}


async def test_writers_hardly_notice(kept: Kept) -> None:
    """While thousands of rows go, a worker that settles them never waits long for a lock."""

    async def impatient() -> Any:
        connection = await connector(lambda: kept.schema.worker)()
        await connection.execute("SET lock_timeout = '1s'")
        return connection

    ledger = PostgresLedger(impatient)
    names = [f"t{number}" for number in range(4000)]
    for start in range(0, len(names), 200):
        some = names[start : start + 200]
        outcomes = tuple(failed(name, Status.REJECTED) for name in some)
        await ledger.settle(Batch(outcomes, tuple(letter(name) for name in some)))
    await kept.schema.execute(
        "SET session_replication_role = replica;"
        "UPDATE resolution.ledger SET settled_at = now() - interval '99 d';"
        "UPDATE resolution.dead_letter SET state = 'discarded',"
        " failed_at = now() - interval '40 d', closed_at = now() - interval '40 d',"
        " received_at = now() - interval '40 d',"
        " redeemable_until = NULL"
    )
    async with asyncio.TaskGroup() as group:
        pruning = group.create_task(prune_all(kept))
        settled = 0
        while not pruning.done():
            some = random.sample(names, 50)
            outcomes = tuple(failed(name, settled=10**7 + settled) for name in some)
            await ledger.settle(Batch(outcomes, tuple(letter(name, 10**7) for name in some)))
            settled += 50
    await ledger.close()
    rows = pruning.result()
    assert rows[Chore.PRUNE_UNRESOLVED] > 1000, rows
    assert rows[Chore.PRUNE_LETTERS] > 1000, rows
    assert settled >= 100
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert [row[0] for row in await kept.schema.rows(deadlocks)] == [0]


async def prune_all(kept: Kept) -> dict[Chore, int]:
    """All batches there are, without rest."""
    done = dict.fromkeys((Chore.PRUNE_UNRESOLVED, Chore.PRUNE_LETTERS), 0)
    for chore in done:
        while (rows := await kept.keeper.batch(Task(chore, 30 * DAY))) != 0:
            assert rows is not None
            done[chore] += rows
    return done


@pytest.mark.long
async def test_batches_are_found_by_indexes(kept: Kept) -> None:
    """Where letters and outcomes are many, a round with nothing to do reads no table through."""
    await kept.letters("open", count=50_000, age="1 h", redeemable="3 h")
    await kept.letters("closed", count=50_000, state="archived", age="1 h", closed="20 d")
    await kept.schema.execute(
        "INSERT INTO resolution.ledger (seller, token_sha256, status, message_id, attempts,"
        " received_at, settled_at) SELECT 'default', sha256(n::text::bytea), 'rejected', n, 1,"
        " now(), now() FROM generate_series(1, 100000) AS n"
    )
    await kept.schema.execute("VACUUM ANALYZE")
    before = await _read_through(kept)
    assert await kept.round() == {}
    await kept.keeper.rest()
    await until(kept, NO_SESSION)  # what a session has counted is seen at its end
    assert await _read_through(kept) == before


async def _read_through(kept: Kept) -> int:
    """How often the large tables have been read from end to end, in all."""
    rows = await kept.schema.rows(
        "SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname IN ('dead_letter', 'ledger')"
    )
    return int(rows[0][0])


async def test_a_full_batch_says_there_may_be_more(kept: Kept) -> None:
    """A batch has a bound, and whoever asks for more at once does not get it."""
    await kept.letters("old", count=1500, age="5 h", redeemable="-1 h")
    assert await kept.keeper.batch(Task(Chore.SHRED)) == BATCH_ROWS
    async with connected(kept.schema.worker) as worker:
        assert await worker.fetchval("SELECT resolution.shred_payloads(1000000)") == 1000
    assert await kept.keeper.batch(Task(Chore.SHRED)) == 0


async def test_closing_by_a_worker_of_before_is_dated(kept: Kept) -> None:
    """A worker that knows nothing of `closed_at` can't make a letter look long closed."""
    await kept.letters("t", state="discarded", age="50 d", closed="50 d")
    await run_script(kept.schema.migrator, "grants.sql")
    async with connected(kept.schema.worker) as before:
        await before.execute("UPDATE resolution.dead_letter SET state = 'open'")
        await before.execute("UPDATE resolution.dead_letter SET state = 'resolved'")
    done = await kept.round()
    assert Chore.PRUNE_LETTERS not in done
    assert set(await kept.states()) == {"t"}


async def test_as_a_worker_does_it(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its settings, round after round, counted in its metrics, until it is cancelled."""
    monkeypatch.setattr(rules, "ROUND_SECONDS", 0.01)
    await kept.schema.execute("UPDATE resolution.retention SET dead_letters = '2 d'")
    settings = load(environ={})
    metrics = Metrics()
    await kept.letters("old", state="discarded", age="3 d", closed="50 h")
    await kept.letters("young", state="discarded", age="3 d", closed="47 h")

    def counted(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(name, labels) or 0.0

    before = counted("resolution_retention_last_round_timestamp_seconds")
    work = retention.retention(settings, connector(lambda: kept.schema.worker), metrics)
    running = asyncio.create_task(work.run())
    await until(kept, "SELECT count(*) = 1 FROM resolution.dead_letter")
    await kept.letters("new", age="5 h", redeemable="-1 h")
    await until(kept, "SELECT bool_and(sealed IS NULL) FROM resolution.dead_letter")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert set(await kept.states()) == {"young", "new"}
    assert counted("resolution_retention_rows_total", action="letters_deleted") == 1
    assert counted("resolution_retention_rows_total", action="payloads_shredded") == 3
    assert counted("resolution_retention_last_round_timestamp_seconds") > before
    await until(kept, NO_SESSION)


async def until(kept: Kept, truth: str) -> None:
    """Wait for what the database says to become true."""
    async with asyncio.timeout(30):
        while not (await kept.schema.rows(truth))[0][0]:  # noqa: ASYNC110 - only the database knows
            await asyncio.sleep(0.05)


async def test_two_workers_at_once_do_each_row_once(kept: Kept) -> None:
    """Whoever has the turn, together they do all that is due, and no row twice."""
    await kept.letters("old", count=3000, age="5 h", redeemable="-1 h")
    keepers = [PostgresRetention(connector(lambda: kept.schema.worker)) for _ in range(4)]

    async def work(keeper: PostgresRetention) -> int:
        done = 0
        while (rows := await keeper.batch(Task(Chore.SHRED))) != 0:
            done += rows or 0
        await keeper.rest()
        return done

    assert sum(await asyncio.gather(*map(work, keepers))) == 3000
    assert await kept.count("letter_event") == 3000


async def test_what_expires_first(kept: Kept) -> None:
    """Each reason has the seconds until its first letter expires, if any of it can be saved."""
    await kept.letters("soon", redeemable="10 min")
    await kept.letters("later", redeemable="3 h")
    await kept.letters("past", redeemable="-1 min")
    await kept.letters("closed", state="discarded", redeemable="1 min", closed="0 s")
    await kept.letters("parked", reason="parked", redeemable="2 h")
    ledger = PostgresLedger(connector(lambda: kept.schema.worker))
    expiries = await ledger.first_expiries()
    await ledger.close()
    assert expiries.keys() == {"dead", "parked"}
    assert expiries["dead"] == pytest.approx(600, abs=20)
    assert expiries["parked"] == pytest.approx(7200, abs=20)


async def test_letters_closed_before_the_migration_are_dated(database: Database) -> None:
    """What was closed when nobody noted when is taken to be closed by the migration."""
    schema = addresses(database)
    await run_script(schema.superuser, "roles.sql")
    before = [migration for migration in bundled() if migration.version < 5]
    await migrate(lambda: schema.migrator, migrations=before)
    kept = Kept(schema)
    for state in ("open", "resolved", "archived"):
        await kept.letters(state, state=state, age="90 d")
    await migrate(lambda: schema.migrator)
    await run_script(schema.migrator, "grants.sql")
    rows = await schema.rows(
        "SELECT state, closed_at > now() - interval '1 min' FROM resolution.dead_letter"
    )
    assert {row[0]: row[1] for row in rows} == {"open": None, "resolved": True, "archived": True}
