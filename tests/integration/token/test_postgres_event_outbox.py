"""The outbox of refused events on a real PostgreSQL, as the worker's own role."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.fakes.ledger_suite import resolved
from tests.integration.fleets import HUNGRY, IDLE, SOUND, crew
from tests.pgbouncer import PROGRAM, pgbouncer
from worker.adapters.postgres.ledger.event_outbox import PostgresOutbox
from worker.adapters.postgres.operator.erasure import Request, erase
from worker.adapters.postgres.sessions import connector
from worker.core.token.outgoing import EVENTS, Outgoing
from worker.ports import OutboxTurn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from harness.schema import Schema
    from worker.core.records import Outcome

KEY, OTHER = "token.resolved", "token.dead"


def event(name: str, key: str = KEY, about: Outcome | None = None) -> Outgoing:
    """An event."""
    return Outgoing(EVENTS, key, b'{"message_id": "' + name.encode() + b'"}', name, about=about)


def events(count: int, key: str = KEY) -> list[Outgoing]:
    """So many events."""
    return [event(f"e{number}", key) for number in range(count)]


_SESSIONS = (
    "SELECT FROM pg_stat_activity WHERE usename = 'resolution_worker'"
    " AND datname = current_database()"
)


class Replicas:
    """Outboxes of several replicas on one database."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.made: list[PostgresOutbox] = []

    def one(self, most: int = 100_000) -> PostgresOutbox:
        """One more replica's."""
        self.made.append(PostgresOutbox(connector(lambda: self.schema.worker), most=most))
        return self.made[-1]

    async def rows_read(self) -> int:
        """How many rows of the table were read so far, by sessions that have ended."""
        (found,) = await self.schema.rows(
            "SELECT seq_tup_read + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes AS indexes"
            " WHERE indexes.relid = tables.relid) FROM pg_stat_user_tables AS tables"
            " WHERE relname = 'event_outbox'"
        )
        return int(found[0])

    async def nobody_is_connected(self) -> None:
        """Wait until the sessions of all workers have ended."""
        async with asyncio.timeout(30):
            while await self.schema.rows(_SESSIONS):  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0.05)

    async def let_the_turn_lapse(self) -> None:
        """As if its holder had been killed some time ago."""
        await self.schema.execute(
            "UPDATE resolution.event_outbox_turn SET held_until = now() - interval '1 second'"
        )


@pytest.fixture
async def replicas(schema: Schema) -> AsyncIterator[Replicas]:
    """A prepared database without any events."""
    made = Replicas(schema)
    yield made
    for each in made.made:
        await each.close()


def names(turn: OutboxTurn | None) -> Sequence[str]:
    """The messages of a turn."""
    assert turn is not None
    return [message.message_id for _, message in turn.events]


def numbers(turn: OutboxTurn | None) -> list[int]:
    """The numbers of a turn's events."""
    assert turn is not None
    return [number for number, _ in turn.events]


async def test_events_come_out_in_their_order_as_they_went_in(replicas: Replicas) -> None:
    """What is stored is read again byte by byte, oldest first, of one key at a time."""
    odd = replace(
        event("odd"), body=b'{"\xff\\u0000"}', message_id="a\0b\ud800", correlation_id="é"
    )
    outbox = replicas.one()
    assert await outbox.add([event("a"), event("x", OTHER), odd]) == 3
    assert await outbox.add(events(3)) == 3
    turn = await outbox.take(KEY, 3, [])
    assert turn is not None
    assert [message for _, message in turn.events] == [event("a"), odd, event("e0")]
    turn = await outbox.take(KEY, 10, numbers(turn)[:2])
    assert names(turn) == ["e0", "e1", "e2"]
    assert names(await outbox.take(OTHER, 10, [])) == ["x"]
    assert await outbox.count() == 4
    assert names(await outbox.take(KEY, 10, numbers(turn))) == []
    assert await outbox.count() == 1


async def test_one_replica_at_a_time_has_the_turn(replicas: Replicas) -> None:
    """While one keeps the turn no other gets it; when it lapses another does, and keeps it."""
    first, second = replicas.one(), replicas.one()
    await first.add(events(3))
    assert len(names(await first.take(KEY, 1, []))) == 1
    assert await second.take(KEY, 1, []) is None
    assert await first.take(OTHER, 1, []) == OutboxTurn((), 0)
    (left,) = await replicas.schema.rows(
        "SELECT held_until - now() AS seconds FROM resolution.event_outbox_turn"
    )
    assert 13 < left["seconds"].total_seconds() <= 15
    await replicas.let_the_turn_lapse()
    turns = await asyncio.gather(*(replicas.one().take(KEY, 1, []) for _ in range(8)))
    assert sum(turn is not None for turn in turns) == 1
    assert await first.take(KEY, 1, []) is None


async def test_what_was_sent_is_removed_by_whoever_sent_it(replicas: Replicas) -> None:
    """A replica that has lost the turn still removes what it has sent."""
    first, second = replicas.one(), replicas.one()
    await first.add(events(3))
    sent = numbers(await first.take(KEY, 2, []))
    await replicas.let_the_turn_lapse()
    assert len(names(await second.take(KEY, 1, []))) == 1
    assert await first.take(KEY, 1, sent) is None
    assert names(await second.take(KEY, 9, [])) == ["e2"]


async def test_beyond_the_bound_the_newest_have_no_room(replicas: Replicas) -> None:
    """So many events are kept and no more; room is counted, whatever numbers were used up."""
    outbox = replicas.one(most=10)
    assert await outbox.add(events(7)) == 7
    assert await outbox.add(events(7)) == 3
    assert await outbox.add(events(1)) == 0
    turn = await outbox.take(KEY, 10, [])
    assert names(turn) == ["e0", "e1", "e2", "e3", "e4", "e5", "e6", "e0", "e1", "e2"]
    await outbox.take(KEY, 1, numbers(turn)[1:5])  # from the middle: the oldest still waits
    assert await outbox.add(events(9)) == 4
    assert await outbox.count() == 10


async def test_storing_a_batch_near_the_bound_reads_little(replicas: Replicas) -> None:
    """With ninety thousand events waiting neither a lease nor storing reads them all."""
    outbox = replicas.one()
    await replicas.schema.execute(
        "INSERT INTO resolution.event_outbox (routing_key, message_id, body)"
        " SELECT 'token.resolved', 'm', repeat('x', 500)::bytea FROM generate_series(1, 90000)"
    )
    await replicas.schema.execute("VACUUM ANALYZE resolution.event_outbox")
    before = await replicas.rows_read()
    async with crew(replicas.schema) as made:
        replica = made.replica()
        for _ in range(20):
            assert (await replica.lease(HUNGRY, SOUND)).outbox_keys == {KEY}
            assert await outbox.add(events(10)) == 10
    await outbox.close()
    await replicas.nobody_is_connected()  # what a session has counted is seen at its end
    assert await replicas.rows_read() - before < 1_000


async def test_events_are_dropped_after_a_day(replicas: Replicas) -> None:
    """What has waited for a day is removed and counted, never sent."""
    outbox = replicas.one()
    await outbox.add(events(1_500))
    await replicas.schema.execute(
        "UPDATE resolution.event_outbox SET stored_at = now() - interval '25 hours'"
    )
    await outbox.add([event("fresh")])
    turn = await outbox.take(KEY, 2, [])
    assert (names(turn), turn and turn.expired) == (["fresh"], 1_000)
    turn = await outbox.take(KEY, 2, [])
    assert (names(turn), turn and turn.expired) == (["fresh"], 500)
    assert await outbox.count() == 1


async def test_a_lease_names_the_keys_that_wait(replicas: Replicas) -> None:
    """Every replica hears within a lease which events must not be published."""
    outbox = replicas.one()
    async with crew(replicas.schema) as made:
        first, second = made.replicas(2)
        assert (await first.lease(IDLE, SOUND)).outbox_keys == frozenset()
        await outbox.add([event("a"), event("b", OTHER), event("c")])
        for each in (first, second):
            assert (await each.lease(IDLE, SOUND)).outbox_keys == {KEY, OTHER}
        turn = await outbox.take(KEY, 9, [])
        await outbox.take(KEY, 9, numbers(turn))
        assert (await second.lease(IDLE, SOUND)).outbox_keys == {OTHER}


async def test_an_erased_customer_has_no_events_waiting(replicas: Replicas) -> None:
    """Erasing a customer removes its events from the outbox, and those of nobody that name it."""
    account, neighbour = "555555555501", "555555555502"
    outbox = replicas.one()
    own = resolved("own", customer_aws_account_id=account, customer_identifier="customer-501")
    shared = resolved(
        "other", customer_aws_account_id=neighbour, customer_identifier="customer-501"
    )
    unread = Outgoing(EVENTS, "token.malformed", f'{{"metadata":"{account}"}}'.encode(), "m")
    near = Outgoing(EVENTS, "token.malformed", f'{{"metadata":"{account}0"}}'.encode(), "m2")
    await outbox.add([event("own", about=own), event("other", about=shared), unread, near])
    request = Request(account, None, "ada", "T-1")
    erased = await erase(connector(lambda: replicas.schema.operator), request)
    assert (erased.events, erased.is_nothing) == (2, False)
    rows = await replicas.schema.rows("SELECT message_id FROM resolution.event_outbox ORDER BY id")
    assert [row["message_id"] for row in rows] == [b"other", b"m2"]
    again = await erase(connector(lambda: replicas.schema.operator), request)
    assert again.is_nothing


@pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed; run scripts/pgbouncer.sh")
async def test_turns_are_taken_through_a_pooler(replicas: Replicas, tmp_path: Path) -> None:
    """Through PgBouncer one replica at a time has the turn, and each event comes out once."""
    schema = replicas.schema
    async with pgbouncer(tmp_path, schema.worker, "resolution_worker") as pooler:
        pooled = Replicas(replace(schema, worker=pooler.before(schema.worker)))
        made = [pooled.one() for _ in range(8)]
        assert sum(await asyncio.gather(*(each.add(events(25)) for each in made))) == 200
        sent: list[int] = []
        for _ in range(10):
            turns = await asyncio.gather(*(each.take(KEY, 20, sent[-20:]) for each in made))
            (turn,) = [each for each in turns if each is not None]
            sent += numbers(turn)
        assert len(set(sent)) == len(sent) == 200
        for each in made:
            await each.close()
