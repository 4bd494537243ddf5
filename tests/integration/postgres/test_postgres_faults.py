"""What the ledger does when the database, the network or its caller fails in the middle."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from harness.schema import connected, prepare
from harness.servers import Database
from tests.fakes.ledger_suite import at, failed, key, letter, resolved
from worker.adapters.postgres import collisions
from worker.adapters.postgres.dead_letters.retention import PostgresRetention
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.rate.fleet import PostgresFleet
from worker.adapters.postgres.sessions import Session, connector
from worker.core.dead_letters.retention import Periods, tasks
from worker.core.exceptions import LedgerUnavailable
from worker.core.rate.fleet import ReplicaState, Report
from worker.core.records import Batch
from worker.lab.servers import Postgres, postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from harness.schema import Schema

pytestmark = pytest.mark.timeout(120)

BATCH = Batch((resolved("a"), failed("b")), (letter("b"),))


@pytest.fixture
async def schema(database: Database) -> Schema:
    """A prepared database."""
    return await prepare(database)


@asynccontextmanager
async def opened(dsn: str, call_seconds: float = 15.0) -> AsyncIterator[PostgresLedger]:
    """A ledger, closed at the end."""
    ledger = PostgresLedger(connector(lambda: dsn), call_seconds=call_seconds)
    try:
        yield ledger
    finally:
        await ledger.close()


@asynccontextmanager
async def private(directory: Path) -> AsyncIterator[tuple[Postgres, Schema]]:
    """A server of the test's own, to stop and freeze."""
    async with postgres(directory) as server:
        yield server, await prepare(Database("postgres", server.dsn, server.log))


async def test_a_stopped_server_is_waited_for(tmp_path: Path) -> None:
    """While the server is stopped calls say so; once it is back the same ledger works."""
    async with private(tmp_path) as (server, schema), opened(schema.worker) as ledger:
        await ledger.settle(BATCH)
        await server.server.stop()
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match=r"no server listens there.+start Postgre"):
                await ledger.settle(BATCH)
        with pytest.raises(LedgerUnavailable):
            await ledger.find_outcomes([key("a")])
        await server.server.start()
        assert set(await ledger.settle(BATCH)) == set(
            await ledger.find_outcomes([key("a"), key("b")])
        )


async def test_a_frozen_server_does_not_hold_a_call(tmp_path: Path) -> None:
    """A server that answers nothing is given up after the call's bound, and then works again."""
    async with private(tmp_path) as (server, schema), opened(schema.worker, 1.0) as ledger:
        await ledger.settle(BATCH)
        server.server.freeze()
        begun = time.monotonic()
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="did not answer in time"):
                await ledger.settle(BATCH)
        assert time.monotonic() - begun < 4
        server.server.thaw()
        assert len(await ledger.settle(BATCH)) == 2


async def test_a_session_ended_by_an_operator_is_replaced(schema: Schema) -> None:
    """Sessions that were terminated while idle are replaced without a fault showing."""
    async with opened(schema.worker) as ledger:
        await ledger.settle(BATCH)
        await ledger.find_outcomes([key("a")])
        killed = await schema.rows(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE usename = 'resolution_worker' AND datname = current_database()"
        )
        assert len(killed) == 2
        await asyncio.sleep(0.1)
        assert len(await ledger.settle(BATCH)) == 2
        assert len(await ledger.find_outcomes([key("a")])) == 1


async def test_a_read_only_database_is_ours(schema: Schema) -> None:
    """A database that takes no writes is unavailable, in a call and in the probe."""
    await schema.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',"
        " current_database()); END $$"
    )
    async with opened(schema.worker) as ledger:
        for asking in (ledger.settle(BATCH), ledger.check()):
            with pytest.raises(LedgerUnavailable, match="read-only"):
                await asking
        assert await ledger.find_outcomes([key("a")]) == {}


@asynccontextmanager
async def _read_only(schema: Schema, whose: str) -> AsyncIterator[None]:
    """Sessions that begin within the block take no writes."""
    scope = {"database": "DATABASE %I", "role": "ROLE resolution_worker IN DATABASE %I"}[whose]
    alter = "DO $$ BEGIN EXECUTE format('ALTER {} {}', current_database()); END $$"
    async with connected(schema.superuser) as connection:  # which stays as it began
        await connection.execute(alter.format(scope, "SET default_transaction_read_only = on"))
        try:
            yield
        finally:
            await connection.execute(alter.format(scope, "RESET default_transaction_read_only"))


@pytest.mark.parametrize("whose", ["database", "role"])
async def test_what_was_read_only_is_believed_so_no_longer(schema: Schema, whose: str) -> None:
    """Once that is over, neither the probe nor any call asks a session that began before."""
    async with opened(schema.worker) as ledger, _fleet(schema) as fleet, _keeper(schema) as keeper:
        chore = tasks(Periods(None, None, timedelta(days=1), None))[0]
        async with _read_only(schema, whose):
            for asking in (
                ledger.settle(BATCH),
                fleet.lease(Report(), ReplicaState()),
                keeper.batch(chore),
                ledger.check(),
            ):
                with pytest.raises(LedgerUnavailable, match="read-only"):
                    await asking
        await ledger.check()
        assert len(await ledger.settle(BATCH)) == 2
        assert (await fleet.lease(Report(), ReplicaState())).share > 0
        assert await keeper.batch(chore) == 0


async def test_no_verdict_comes_from_a_session_older_than_the_mending(schema: Schema) -> None:
    """Sessions that nobody found to be read-only while the database was are not believed later."""
    async with opened(schema.worker) as ledger:
        async with _read_only(schema, "database"):
            await asyncio.gather(*(ledger.find_outcomes([key("a")]) for _ in range(2)))
        await ledger.check()
        for _ in range(2):  # whichever of the readers it was
            await asyncio.gather(ledger.check(), ledger.check())


async def test_a_writer_that_works_is_not_cut_for_a_verdict(schema: Schema) -> None:
    """A session found unfit to write says nothing about one that is writing."""
    async with opened(schema.worker) as ledger:
        await ledger.settle(BATCH)
        writers = "SELECT pid FROM pg_stat_activity WHERE usename = 'resolution_worker'"
        (before,) = await schema.rows(f"{writers} AND datname = current_database()")
        async with _read_only(schema, "database"):
            with pytest.raises(LedgerUnavailable, match="read-only"):
                await ledger.check()
            assert len(await ledger.settle(BATCH)) == 2
        after = await schema.rows(f"{writers} AND datname = current_database()")
        assert before["pid"] in {row["pid"] for row in after}


@pytest.mark.parametrize("words", ["statement_timeout%3Dsoon", "no_such_parameter%3D1"])
async def test_a_wrong_word_of_the_address_is_no_fault_of_the_rows(
    schema: Schema, words: str
) -> None:
    """What the server refuses before there is a session never counts against what is written."""
    async with opened(f"{schema.worker}?options=-c%20{words}") as ledger:
        for asking in (ledger.settle(BATCH), ledger.find_outcomes([key("a")]), ledger.check()):
            with pytest.raises(LedgerUnavailable, match="refused a parameter of the address"):
                await asking


async def test_a_failed_connection_costs_no_other(schema: Schema) -> None:
    """While the address is wrong, sessions that are open already go on working."""
    dsns = [schema.worker, schema.worker.replace("resolution_worker", "nobody")]
    ledger = PostgresLedger(connector(lambda: dsns[0]))
    await ledger.settle(BATCH)
    del dsns[0]
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="nobody"):
            await ledger.find_outcomes([key("a")])
        assert len(await ledger.settle(BATCH)) == 2
    await ledger.close()


@asynccontextmanager
async def _fleet(schema: Schema) -> AsyncIterator[PostgresFleet]:
    fleet = PostgresFleet(connector(lambda: schema.worker), initial=10, ceiling=None)
    try:
        yield fleet
    finally:
        await fleet.close()


@asynccontextmanager
async def _keeper(schema: Schema) -> AsyncIterator[PostgresRetention]:
    keeper = PostgresRetention(connector(lambda: schema.worker))
    try:
        yield keeper
    finally:
        await keeper.rest()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("lock_timeout", "a lock could not be acquired"),
        ("statement_timeout", "cancelled a statement"),
    ],
)
async def test_the_roles_bounds_end_a_wait(schema: Schema, setting: str, says: str) -> None:
    """A table that someone has locked makes the ledger unavailable, not stuck; then it works."""
    await _bound_worker(schema, setting)
    async with opened(schema.worker) as ledger, _locked(schema):
        with pytest.raises(LedgerUnavailable, match=says):
            await ledger.settle(BATCH)
    async with opened(schema.worker) as ledger:
        assert len(await ledger.settle(BATCH)) == 2


@pytest.mark.parametrize("cut", ["BEGIN", "INSERT INTO resolution.ledger", "COMMIT\0"])
async def test_a_connection_lost_anywhere_leaves_one_effect(schema: Schema, cut: str) -> None:
    """Lost at whatever statement, COMMIT included, the batch can be given again as it was."""
    async with _cutting(schema.worker, cut.encode()) as dsn, opened(dsn) as ledger:
        with pytest.raises(LedgerUnavailable, match="connection to the server was lost"):
            await ledger.settle(BATCH)
        if cut == "COMMIT\0":
            await _until(lambda: _settled(schema, 2))
        stands = await ledger.settle(BATCH)
    assert stands == {outcome.key: outcome for outcome in BATCH.outcomes}
    assert await _settled(schema, 2)
    (row,) = await schema.rows("SELECT occurrences FROM resolution.dead_letter")
    assert row["occurrences"] == 1


async def test_cancelling_a_call_leaves_the_ledger_usable(schema: Schema) -> None:
    """A call cancelled while it waits in the server ends at once; the next one works."""
    async with opened(schema.worker) as ledger:
        await ledger.settle(Batch((failed("other"),)))
        async with _locked(schema):
            call = asyncio.ensure_future(ledger.settle(BATCH))
            await asyncio.sleep(0.2)
            begun = time.monotonic()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert time.monotonic() - begun < 0.5
        assert len(await ledger.settle(BATCH)) == 2


async def test_cancelling_at_any_instant_loses_nothing(schema: Schema) -> None:
    """A call cancelled at whatever instant is done whole or not at all, whatever comes next."""
    async with opened(schema.worker) as ledger:
        for step in range(40):
            batch = Batch((resolved(f"a{step}"), resolved(f"b{step}")))
            call = asyncio.ensure_future(ledger.settle(batch))
            await asyncio.sleep(step / 8000)
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
            await ledger.settle(Batch((failed(f"c{step}"),)))
            assert await _written(schema, f"%b{step}") in {(0, 0), (1, 1)}
            assert len(await ledger.settle(batch)) == 2


@pytest.fixture
def no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a deadlock show, which is otherwise tried again."""
    monkeypatch.setattr(collisions, "_TRIES", 1)


@pytest.mark.usefixtures("no_second_try")
@pytest.mark.parametrize("odd", [0, 1], ids=["same customers", "same agreements"])
async def test_tokens_with_something_in_common_never_deadlock(schema: Schema, odd: int) -> None:
    """Writers with tokens of their own, but the same customers or agreements, go through."""
    tokens = [range(seed * 120 + odd, seed * 120 + 120, 2) for seed in range(4)]
    await _settle_at_once(schema, tokens)
    assert await _settled(schema, 240)


@pytest.mark.usefixtures("no_second_try")
async def test_overlapping_batches_never_deadlock(schema: Schema) -> None:
    """Many writers with the same tokens in other orders go through."""
    await _settle_at_once(schema, [range(60)] * 4)
    assert await _settled(schema, 60)


async def _settle_at_once(schema: Schema, tokens: list[range]) -> None:
    async def work(seed: int) -> None:
        async with opened(schema.worker) as ledger:
            await _settle_shuffled(ledger, seed, tokens[seed])

    async with asyncio.TaskGroup() as group:
        for seed in range(len(tokens)):
            group.create_task(work(seed))


async def test_a_deadlock_with_others_is_tried_again(schema: Schema) -> None:
    """When the server sacrifices our transaction to end a deadlock, it is simply run again."""
    async with opened(schema.worker) as ledger, connected(schema.superuser) as other:
        await ledger.settle(BATCH)
        first, second = sorted(outcome.key.sha256 for outcome in BATCH.outcomes)
        await other.execute("SET deadlock_timeout = '1h'; BEGIN")
        touch = "UPDATE resolution.ledger SET attempts = attempts WHERE token_sha256 = $1"
        await other.execute(touch, second)
        call = asyncio.ensure_future(ledger.settle(BATCH))
        await _until(lambda: _waiting(schema))
        # Ours holds the first and waits for the second; after 1 s the server breaks ours up.
        await other.execute(touch, first)
        await other.execute("COMMIT")
        assert len(await call) == 2


async def test_the_address_is_asked_anew_each_time(schema: Schema) -> None:
    """A secret that was rotated is taken up at the next connection, without a restart."""
    dsns = [schema.worker.replace("resolution_worker", "nobody"), schema.worker]
    ledger = PostgresLedger(connector(lambda: dsns.pop(0)))
    with pytest.raises(LedgerUnavailable, match="nobody"):
        await ledger.settle(BATCH)
    assert len(await ledger.settle(BATCH)) == 2
    await ledger.close()


async def test_a_pooler_is_recognised(schema: Schema) -> None:
    """Statements are prepared on a direct connection, not where another process answers."""
    session = await Session.open(connector(lambda: schema.worker), statement_cache=None)
    assert session.statement_cache
    await session.close()
    async with _renumbering(schema.worker) as dsn:
        session = await Session.open(connector(lambda: dsn), statement_cache=None)
        assert not session.statement_cache
        await session.close()


async def _settle_shuffled(ledger: PostgresLedger, seed: int, tokens: range) -> None:
    chance = random.Random(seed)
    for turn in range(15):
        outcomes = [
            replace(failed(f"{token}"), settled_at=at(turn))
            if (token + turn) % 3 == 0
            else resolved(
                f"{token}",
                customer_aws_account_id=f"{seed}-{token}" if token % 2 else f"{token % 16}",
                license_arn=f"arn:{token % 31}" if token % 2 else None,
            )
            for token in chance.sample(tokens, len(tokens))
        ]
        await ledger.settle(Batch(tuple(outcomes)))


async def _written(schema: Schema, ending: str) -> tuple[int, int]:
    (row,) = await schema.rows(
        "SELECT (SELECT count(*) FROM resolution.outcomes WHERE license_arn LIKE $1),"
        " (SELECT count(*) FROM resolution.agreements WHERE license_arn LIKE $1)",
        ending,
    )
    return row[0], row[1]


async def _bound_worker(schema: Schema, setting: str) -> None:
    other = {"lock_timeout": "statement_timeout", "statement_timeout": "lock_timeout"}[setting]
    for name, value in ((setting, "200ms"), (other, "0")):
        await schema.execute(
            "DO $$ BEGIN EXECUTE format('ALTER ROLE resolution_worker IN DATABASE %I"
            f" SET {name} = %L', current_database(), '{value}'); END $$"
        )


@asynccontextmanager
async def _locked(schema: Schema) -> AsyncIterator[None]:
    async with connected(schema.superuser) as connection, connection.transaction():
        await connection.execute("LOCK TABLE resolution.ledger IN ACCESS EXCLUSIVE MODE")
        yield


async def _settled(schema: Schema, number: int) -> bool:
    (row,) = await schema.rows("SELECT count(*) FROM resolution.outcomes")
    return bool(row["count"] == number)


async def _waiting(schema: Schema) -> bool:
    return bool(
        await schema.rows(
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
    )


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _cutting(dsn: str, cut: bytes) -> AsyncIterator[str]:
    """A way to the server that breaks once, after letting a statement through unanswered."""
    armed = [cut]

    def breaks(data: bytes) -> bool:
        return bool(armed and armed[0] in data and armed.pop())

    async with _relay(dsn, breaks, lambda data: data) as address:
        yield address


@asynccontextmanager
async def _renumbering(dsn: str) -> AsyncIterator[str]:
    """A way to the server that names another process in the handshake, as poolers do."""

    def renumbered(data: bytes) -> bytes:
        start = data.find(b"K\x00\x00\x00\x0c")
        return data if start < 0 else data[: start + 5] + b"\x00\x00\x00\x01" + data[start + 9 :]

    async with _relay(dsn, lambda _: False, renumbered) as address:
        yield address


@asynccontextmanager
async def _relay(
    dsn: str, breaks: Callable[[bytes], bool], answered: Callable[[bytes], bytes]
) -> AsyncIterator[str]:
    where = urlsplit(dsn)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(where.hostname, where.port)

        async def ask() -> None:
            while data := await reader.read(65536):
                to_server.write(data)
                if breaks(data):
                    answering.cancel()
                    writer.transport.abort()
            to_server.close()

        async def answer() -> None:
            while data := await from_server.read(65536):
                writer.write(answered(data))
            writer.close()

        async with asyncio.TaskGroup() as group:
            answering = group.create_task(answer())
            group.create_task(ask())

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield dsn.replace(f":{where.port}/", f":{port}/")
