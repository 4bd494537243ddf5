"""What on-call reads of the dead letters, and what workers write for them."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.letter_queries import AS_ON_CALL, single_filters, statements, timing
from harness.many_letters import KINDS, keep_many
from harness.schema import addresses, connected, prepare, run_script
from tests.fakes.ledger_suite import at, failed, key, letter, resolved
from worker.adapters.postgres.dead_letters import views
from worker.adapters.postgres.dead_letters.commands import acting
from worker.adapters.postgres.dead_letters.filters import select
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.migrate import bundled, migrate
from worker.adapters.postgres.operator.errors import DatabaseFault
from worker.adapters.postgres.operator.session import operating
from worker.adapters.postgres.sessions import Session, connector
from worker.core.dead_letters import grouping
from worker.core.dead_letters.commands import Actor
from worker.core.dead_letters.filters import FILTERS, LetterState, Selection
from worker.core.dead_letters.views import Page
from worker.core.records import Batch, LetterReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.schema import Schema
    from harness.servers import Database

MANY = 3_000
# A worker of the version before: it knows nothing of groups, and of no history.
OLD_KEEP = """
INSERT INTO resolution.dead_letter (
    seller, reason, error_code, error_message, body_sha256, message_id, lane, attempts,
    received_at, first_failed_at, failed_at, sealed, seal_key_id, body_bytes
)
SELECT 'default', 'dead', 'Timeout', 'no answer within ' || n || ' s', sha256(n::text::bytea),
    'old-' || n, 'live', 1, now(), now(), now(), 'x', 'k', 1
FROM generate_series(1, {}) AS n
"""
OLD_RETELL = """
UPDATE resolution.dead_letter SET error_code = 'ConnectionFault', failed_at = now(),
    error_message = 'lost 1 connection'
"""


@pytest.fixture
async def ledger(schema: Schema) -> AsyncIterator[PostgresLedger]:
    """What a worker writes with."""
    ledger = PostgresLedger(connector(lambda: schema.worker))
    yield ledger
    await ledger.close()


@pytest.fixture
async def session(schema: Schema) -> AsyncIterator[Session]:
    """On-call's connection."""
    async with operating(lambda: schema.operator) as session:
        yield session


async def kinds(session: Session, letter_id: int) -> list[tuple[str, str | None]]:
    """What happened to a letter, and with which error."""
    found = await views.detail(session, letter_id)
    assert found is not None
    return [(event.kind, event.error_code) for event in found.history]


async def only_id(session: Session) -> int:
    """The id of the only letter."""
    (row,) = await session.fetch("SELECT id FROM resolution.dead_letter")
    return int(row["id"])


# --- what workers write ---


async def test_a_history_of_deaths_and_rescue(
    schema: Schema, ledger: PostgresLedger, session: Session
) -> None:
    """Each death is one event, however often it is told, and so is the rescue."""
    for telling in (letter("t"), letter("t"), letter("t", 2, error_code="Received")):
        await ledger.settle(Batch((), (telling,)))
    await schema.execute(
        "UPDATE resolution.dead_letter SET state = 'replaying', claimed_at = now()"
    )
    for _ in range(2):
        await ledger.settle(Batch((), (letter("t", 9, error_code="Again", attempts=7),)))
    await ledger.settle(Batch((resolved("t", settled=20),)))
    number = await only_id(session)
    assert await kinds(session, number) == [
        ("failed", "Timeout"),
        ("failed", "Again"),
        ("resolved", None),
    ]
    found = await views.detail(session, number)
    assert found is not None
    assert [event.at for event in found.history[:2]] == [at(1), at(9)]
    assert [event.attempts for event in found.history] == [6, 7, None]
    assert (found.letter.state, found.letter.occurrences) == ("resolved", 2)
    (row,) = await session.fetch("SELECT claimed_at, closed_at FROM resolution.dead_letter")
    assert row["claimed_at"] is None
    assert row["closed_at"] is not None


async def test_a_letter_that_is_not_kept_has_no_history(
    schema: Schema, ledger: PostgresLedger
) -> None:
    """Of a token that stands resolved there is no letter, and no event."""
    await ledger.settle(Batch((resolved("t"),)))
    await ledger.settle(Batch((failed("t", settled=9),), (letter("t"),)))
    assert await schema.rows("SELECT FROM resolution.letter_event") == []


async def test_letters_of_one_batch_each_have_their_history(
    schema: Schema, ledger: PostgresLedger, session: Session
) -> None:
    """Of a batch with new letters, known ones and the same twice each event has its own error."""
    await ledger.settle(Batch((), (letter("a"), letter("b"))))
    await schema.execute("UPDATE resolution.dead_letter SET state = 'discarded'")
    batch = (
        letter("b", 5, error_code="B"),
        letter("c", 5, error_code="C"),
        letter("a", 4, error_code="old"),
        letter("a", 5, error_code="A"),
    )
    await ledger.settle(Batch((), batch))
    rows = await session.fetch(
        "SELECT message_id, array_agg(event.error_code ORDER BY event.id) AS codes"
        " FROM resolution.dead_letter AS letter INNER JOIN resolution.letter_event AS event"
        " ON letter.id = event.letter_id GROUP BY message_id ORDER BY message_id"
    )
    assert [tuple(row) for row in rows] == [
        ("message-a", ["Timeout", "A"]),
        ("message-b", ["Timeout", "B"]),
        ("message-c", ["C"]),
    ]


async def test_two_workers_tell_one_death(schema: Schema, session: Session) -> None:
    """A letter that two workers tell at the same instant dies once."""
    ledgers = [PostgresLedger(connector(lambda: schema.worker)) for _ in range(4)]
    await ledgers[0].settle(Batch((), (letter("t"),)))
    await schema.execute("UPDATE resolution.dead_letter SET state = 'replaying'")
    async with asyncio.TaskGroup() as group:
        for seconds, ledger in enumerate(ledgers):
            group.create_task(ledger.settle(Batch((), (letter("t", 5 + seconds),))))
    number = await only_id(session)
    assert await kinds(session, number) == [("failed", "Timeout")] * 2
    found = await views.detail(session, number)
    assert found is not None
    assert found.letter.occurrences == 2
    for ledger in ledgers:
        await ledger.close()


# --- groups ---


async def test_workers_group_what_they_keep(ledger: PostgresLedger, session: Session) -> None:
    """Letters whose messages differ in numbers alone are one group, told by the newest of them."""
    soon = datetime.now(UTC) + timedelta(minutes=10)
    told = [
        letter(f"t{n}", n, error_message=f"no answer in {n} s", redeemable_until=soon)
        for n in range(1, 4)
    ]
    gone = letter("x", 9, error_message="no answer in 9 s", redeemable_until=at(0))
    other = letter("y", 5, reason=LetterReason.EXPIRED, redeemable_until=None)
    await ledger.settle(Batch((), (*told, gone, other)))
    assert await views.group_letters(session) == 0
    found = await views.groups(session, Selection(), 10)
    first, second = found.shown
    assert (first.key, first.message) == (
        grouping.key("dead", "Timeout", "no answer in 1 s"),
        "no answer in <n> s",
    )
    assert (first.letters, first.redeemable, first.first_expiry) == (4, 3, soon)
    assert (first.first_failed_at, first.last_failed_at) == (at(1), at(9))
    assert (second.reason, second.letters, second.redeemable) == ("expired", 1, 0)
    assert (found.groups, found.letters, found.redeemable) == (2, 5, 3)
    cut = await views.groups(session, Selection(), 1)
    assert (len(cut.shown), cut.groups, cut.letters) == (1, 2, 5)


async def test_letters_of_older_workers_are_grouped_when_asked_for(
    schema: Schema, ledger: PostgresLedger, session: Session
) -> None:
    """What workers of the version before keep, or tell again, is grouped before it is read."""
    await ledger.settle(Batch((), (letter("t"),)))
    await run_script(schema.migrator, "grants.sql")
    async with connected(schema.worker) as old:
        await old.execute(OLD_KEEP.format(MANY))
    told: list[int] = []
    assert await views.group_letters(session, told.append) == MANY
    assert told[-1] == MANY
    found = await views.groups(session, Selection(), 10)
    assert [group.letters for group in found.shown] == [1, MANY]
    async with connected(schema.worker) as old:
        await old.execute(OLD_RETELL)
    assert await views.group_letters(session) == MANY + 1
    (group,) = (await views.groups(session, Selection(), 10)).shown
    assert group.key == grouping.key("dead", "ConnectionFault", "lost 1 connection")
    assert await views.group_letters(session) == 0


async def test_rejected_tokens_are_told_apart_while_others_resolve(
    schema: Schema, ledger: PostgresLedger, session: Session
) -> None:
    """What strangers send stands apart from what a wrong account rejects: then none resolves."""
    reason = LetterReason.REJECTED
    first, second = (letter(name, reason=reason, error_code="X") for name in "ab")
    await ledger.settle(Batch((), (first,)))
    await ledger.settle(Batch((resolved("buyer"),)))
    await schema.execute("UPDATE resolution.ledger SET settled_at = now()")
    await ledger.settle(Batch((), (second,)))
    found = await views.groups(session, Selection(), 10)
    assert {group.others_resolved for group in found.shown} == {False, True}
    assert [group.letters for group in found.shown] == [1, 1]


async def test_no_letters_no_groups(session: Session) -> None:
    """Of nothing there are no groups and no pages."""
    found = await views.groups(session, Selection(), 10)
    assert (found.shown, found.groups, found.letters, found.redeemable) == ((), 0, 0, 0)
    assert await views.page(session, Selection(), 10, None) == Page((), None)


# --- filters and pages ---


@pytest.fixture(scope="module")
def many(postgres_server: Any) -> Any:
    """A database with many letters, which no test changes."""
    with postgres_server.database() as database:

        async def fill() -> Schema:
            schema = await prepare(database)
            async with connected(schema.superuser) as connection:
                await keep_many(connection, MANY)
            return schema

        with ThreadPoolExecutor(1) as executor:
            yield executor.submit(asyncio.run, fill()).result()


def some(values: list[Any], most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    """No value, or a few."""
    return st.lists(st.sampled_from(values), max_size=most, unique=True).map(tuple)


AGO = st.none() | st.integers(0, 420).map(
    lambda minutes: datetime.now(UTC) - timedelta(minutes=minutes)
)
SELECTIONS = st.builds(
    Selection,
    states=some(list(LetterState)),
    ids=st.just(()) | some([1, 2, 3, MANY, MANY + 1]),
    groups=some([grouping.key(*kind[:3]) for kind in KINDS]),
    reasons=some([reason.value for reason in LetterReason]),
    errors=some([kind.error_code for kind in KINDS]),
    sellers=some(["default", "second", "third"]),
    since=AGO,
    until=AGO,
    redeemable=st.booleans(),
)
_ALIKE = {
    "states": "state",
    "ids": "id",
    "groups": "group",
    "reasons": "reason",
    "errors": "error_code",
    "sellers": "seller",
    "message_ids": "message_id",
}


def meets(letter: Any, selection: Selection, now: datetime) -> bool:
    """Whether a letter is selected, said once more in other words."""
    for name, member in _ALIKE.items():
        values = getattr(selection, name)
        if values and getattr(letter, member) not in values:
            return False
    if selection.since is not None and letter.failed_at < selection.since:
        return False
    if selection.until is not None and letter.failed_at >= selection.until:
        return False
    until = letter.redeemable_until
    return not selection.redeemable or (until is not None and until > now)


async def all_pages_of(session: Session, selection: Selection, limit: int) -> list[Any]:
    """All selected letters, page by page; each page but the last is full."""
    found: list[Any] = []
    after = None
    while True:
        page = await views.page(session, selection, limit, after)
        found += page.letters
        after = page.next
        if after is None:
            return found
        assert len(page.letters) == limit


async def test_filters_compose_and_pages_join(many: Schema) -> None:
    """Whatever the filters, the pages together are the letters that meet them all, newest first."""
    async with operating(lambda: many.operator) as session:
        whole = await views.page(session, Selection(states=()), MANY + 1, None)
        everything = whole.letters
        assert (len(everything), whole.next) == (MANY, None)
        drawn: list[tuple[Selection, int]] = []

        @settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))
        @given(SELECTIONS, st.sampled_from([1, 7, 50, 1_000]))
        def draw(selection: Selection, limit: int) -> None:
            drawn.append((selection, limit))

        draw()
        for selection, limit in drawn:
            now = datetime.now(UTC)
            expected = [each for each in everything if meets(each, selection, now)]
            # Of many letters small pages would take long.
            pages = await all_pages_of(session, selection, limit if len(expected) < 200 else 500)
            assert pages == expected, selection
            counted = await views.groups(session, selection, 1_000)
            assert counted.letters == len(expected)


async def test_letters_of_one_instant_are_all_listed(
    ledger: PostgresLedger, session: Session
) -> None:
    """Pages neither repeat nor skip letters that failed at the same instant."""
    await ledger.settle(Batch((), tuple(letter(f"t{n}", 1) for n in range(7))))
    seen, after = [], None
    for _ in range(4):
        page = await views.page(session, Selection(), 2, after)
        seen += [each.id for each in page.letters]
        after = page.next
    assert after is None
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 7


async def test_a_message_id_finds_its_letters(ledger: PostgresLedger, session: Session) -> None:
    """The id of a message finds all letters that have it, whatever their state and time."""
    twins = [letter(name, n, message_id="twin") for n, name in enumerate("ab", 1)]
    await ledger.settle(Batch((), (*twins, letter("c", 9))))
    newest, oldest = await views.ids_of_message(session, "twin", 10)
    assert await views.ids_of_message(session, "twin", 1) == [newest]
    chosen = await views.page(session, Selection(message_ids=("twin",)), 10, None)
    assert [each.id for each in chosen.letters] == [newest, oldest]
    assert await views.ids_of_message(session, "nobody", 10) == []


async def test_a_condition_serves_a_claim(many: Schema) -> None:
    """The condition stands beside other parameters in a query that locks what it finds."""
    condition = select(
        Selection(reasons=("dead",), sellers=("default", "second"), redeemable=True),
        letter="l",
        taken=1,
    )
    sql = (
        f"SELECT id, reason FROM resolution.dead_letter AS l WHERE {condition.sql}"
        " ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED"
    )
    async with connected(many.operator) as one, connected(many.operator) as two:
        first, second = one.transaction(), two.transaction()
        await first.start()
        await second.start()
        mine = await one.fetch(sql, 5, *condition.arguments)
        theirs = await two.fetch(sql, 5, *condition.arguments)
        await first.rollback()
        await second.rollback()
    assert {row["reason"] for row in (*mine, *theirs)} == {"dead"}
    assert len({row["id"] for row in (*mine, *theirs)}) == 10


# A value of each filter that some of the many dead letters meet, and others do not.
NARROWING: dict[str, Any] = {
    "states": (LetterState.OPEN,),
    "ids": (1, 2),
    "groups": (grouping.key(*KINDS[0][:3]),),
    "reasons": ("dead",),
    "errors": (KINDS[0].error_code,),
    "sellers": ("second",),
    "message_ids": ("that of the newest",),
    "since": datetime.now(UTC) - timedelta(hours=2),
    "until": datetime.now(UTC) - timedelta(hours=2),
    "redeemable": True,
}


@pytest.mark.parametrize("name", FILTERS)
async def test_each_filter_narrows(many: Schema, name: str) -> None:
    """Whatever filter there is, what is read, replayed and discarded is narrowed by it."""
    value, connect = NARROWING[name], connector(lambda: many.operator)
    async with operating(lambda: many.operator) as session, acting(connect) as commands:
        everything = await views.page(session, Selection(states=()), MANY + 1, None)
        assert len(everything.letters) == MANY
        if name == "message_ids":
            value = (everything.letters[0].message_id,)
        selection = Selection(**{"states": (), name: value})
        left = (await views.page(session, selection, MANY + 1, None)).letters
        preview = await commands.preview(selection, timedelta(), ())
        discardable = await commands.discardable(selection)
    assert 0 < len(left) < MANY
    assert preview.letters == len(left)
    assert discardable == sum(each.state == "open" for each in left)


@pytest.mark.parametrize("name", ["reasons", "errors", "sellers", "message_ids", "groups"])
async def test_a_filter_is_never_sql(many: Schema, name: str) -> None:
    """A value that looks like SQL finds nothing and does nothing."""
    foul = "x' OR TRUE --"
    async with operating(lambda: many.operator) as session:
        page = await views.page(session, Selection(**{name: (foul,)}), 5, None)  # type: ignore[arg-type]
    assert page.letters == ()


async def test_every_filter_is_answered_from_an_index(many: Schema) -> None:
    """A page is chosen without reading letters that are not on it, whatever filters there are."""
    own = {"ids", "message_ids"}  # have indexes of their own
    single = [{name: NARROWING[name]} for name in FILTERS if name not in {"states", *own}]
    await many.execute("VACUUM ANALYZE resolution.dead_letter")
    for pair in itertools.combinations(single, 2):
        selection = replace(Selection(), **pair[0], **pair[1])
        condition = select(selection)
        async with connected(many.superuser) as connection:
            # Where letters are many and large; here they are few.
            await connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
            rows = await connection.fetch(
                f"EXPLAIN SELECT id FROM resolution.dead_letter AS letter WHERE {condition.sql}"
                " ORDER BY failed_at DESC, id DESC LIMIT 50",
                *condition.arguments,
            )
        plan = "\n".join(row[0] for row in rows)
        assert "Index Only Scan Backward using dead_letter_by_choice" in plan, plan


@pytest.mark.long
async def test_a_hundred_thousand_letters_take_no_time(database: Database) -> None:
    """Of 100,000 letters just written, groups and pages by each filter take at most 300 ms."""
    schema = await prepare(database)
    async with connected(schema.superuser) as connection:
        await keep_many(connection, 100_000)
        message_id = await connection.fetchval("SELECT min(message_id) FROM resolution.dead_letter")
        # Of its own time: other tests share the machine.
        await connection.execute(AS_ON_CALL)
        for name, filters in (("none", {}), *single_filters(message_id).items()):
            for statement in statements(name, Selection(**filters)):
                found = await timing(connection, statement)
                assert found.milliseconds < 300, found


# --- one letter ---


async def test_one_letter_whole(ledger: PostgresLedger, session: Session) -> None:
    """All that was kept of a message is told, and no more of the token than its fingerprint."""
    given_letter = letter("t", metadata=b'{"session": "s"}')
    await ledger.settle(Batch((), (given_letter,)))
    found = await views.detail(session, await only_id(session))
    assert found is not None
    assert found.letter.fingerprint == key("t").sha256.hex()[:16]
    assert (found.metadata, found.lane, found.is_kept) == ('{"session": "s"}', "live", True)
    assert (found.body_sha256, found.body_bytes) == (given_letter.body_sha256, 256)
    assert await views.detail(session, 10**6) is None
    assert await views.reveal(session, 10**6, Actor("ann", "why")) is None


async def test_of_a_long_history_the_latest_is_told(
    schema: Schema, ledger: PostgresLedger, session: Session
) -> None:
    """A letter with a history without end is told with the latest of it, oldest first."""
    await ledger.settle(Batch((), (letter("t"),)))
    number = await only_id(session)
    await schema.execute(
        "INSERT INTO resolution.letter_event (letter_id, kind, reason)"
        f" SELECT {number}, 'claimed', n::text FROM generate_series(1, 250) AS n"
    )
    found = await views.detail(session, number)
    assert found is not None
    assert found.earlier
    assert [event.reason for event in found.history] == [str(n) for n in range(51, 251)]


async def test_revealing_leaves_its_trace(ledger: PostgresLedger, session: Session) -> None:
    """Who reads a payload, why and as which role is in the audit and in the letter's history."""
    await ledger.settle(Batch((), (letter("t"),)))
    number = await only_id(session)
    payload = await views.reveal(session, number, Actor("ann", "buyer on the phone"))
    assert payload is not None
    assert payload.sealed
    (row,) = await session.fetch(
        "SELECT action, actor, reason, session_user_name, subject::text FROM resolution.audit"
    )
    assert tuple(row) == (
        *("dead-letters.reveal", "ann", "buyer on the phone", "resolution_operator"),
        f'{{"letters": [{number}]}}',
    )
    found = await views.detail(session, number)
    assert found is not None
    (event,) = [each for each in found.history if each.kind == "revealed"]
    assert (event.actor, event.reason) == ("ann", "buyer on the phone")


async def test_a_worker_reads_none_of_it(schema: Schema, ledger: PostgresLedger) -> None:
    """The worker's role writes histories, and reads neither them nor payloads."""
    await ledger.settle(Batch((), (letter("t"),)))
    async with connected(schema.worker) as worker:
        for forbidden in (
            "SELECT sealed FROM resolution.dead_letter",
            "SELECT error_message FROM resolution.letter_event",
            "UPDATE resolution.letter_event SET kind = 'failed'",
            "DELETE FROM resolution.letter_event",
            "SELECT reason FROM resolution.replay",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await worker.execute(forbidden)


# --- a database that is not ready ---


async def test_a_schema_that_is_too_old(database: Database) -> None:
    """Before the migration the remedy is to migrate."""
    schema = await prepare(database)
    await schema.execute("DELETE FROM resolution.schema_migration WHERE version > 2")
    with pytest.raises(DatabaseFault, match="the schema is at version 2") as fault:
        async with operating(lambda: schema.operator):
            pass
    assert fault.value.remedy == "run `resolution-worker migrate`"


async def test_an_older_schema_keeps_its_letters(database: Database) -> None:
    """Migrating a schema that has letters leaves them, to be grouped when they are asked for."""
    schema = await prepare_at(database, 2)
    await schema.execute(OLD_KEEP.format(5))
    await migrate(lambda: schema.migrator)
    async with operating(lambda: schema.superuser) as session:
        assert await views.group_letters(session) == 5
        (group,) = (await views.groups(session, Selection(), 5)).shown
        assert group.letters == 5


async def prepare_at(database: Database, version: int) -> Schema:
    """A database at an older version of the schema."""
    schema = addresses(database)
    await run_script(schema.superuser, "roles.sql")
    older = [each for each in bundled() if each.version <= version]
    await migrate(lambda: schema.migrator, migrations=older)
    return schema


async def test_a_database_that_is_away() -> None:
    """Where nobody listens the fault says so."""
    with pytest.raises(DatabaseFault, match="no server listens there"):
        async with operating(lambda: "postgresql://a@127.0.0.1:1/x"):
            pass
