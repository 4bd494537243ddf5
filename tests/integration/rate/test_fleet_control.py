"""What operators tell a fleet, and that it is audited."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
import pytest

from harness.schema import connected
from harness.waiting import eventually
from tests.integration.fleets import DENIED, HUNGRY, REFUSED, SOUND, Crew, crew, leases, settled
from worker.adapters.postgres.rate import control
from worker.adapters.postgres.rate.control import AuditContext
from worker.adapters.postgres.rate.status import fleet_status
from worker.adapters.postgres.sessions import Session, connector
from worker.core.records import DEFAULT_SELLER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.schema import Schema


_ALICE = AuditContext(DEFAULT_SELLER, "alice", "incident 12")
_BOB = AuditContext(DEFAULT_SELLER, "bob", "maintenance")


@pytest.fixture
async def fleet(schema: Schema) -> AsyncIterator[Crew]:
    """A fleet without replicas yet, on a database as an operator prepares it."""
    async with crew(schema) as made:
        yield made


@asynccontextmanager
async def session(dsn: str) -> AsyncIterator[Session]:
    """A session of a command."""
    opened = await Session.open(connector(lambda: dsn), statement_cache=False)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture(params=["worker", "operator"])
async def asked(request: pytest.FixtureRequest, fleet: Crew) -> AsyncIterator[Session]:
    """A session of each role that may give commands."""
    async with session(getattr(fleet.schema, request.param)) as opened:
        yield opened


async def audited(fleet: Crew) -> list[tuple[str, str, str, Any]]:
    """All entries, oldest first: actor, reason, action, subject without the seller."""
    rows = await fleet.schema.rows(
        "SELECT actor, reason, action, (subject - 'seller')::text FROM resolution.audit ORDER BY id"
    )
    return [(*row[:3], orjson.loads(row[3])) for row in rows]


async def test_all_replicas_see_a_pause_and_its_end(fleet: Crew, asked: Session) -> None:
    """A pause is in the next lease of every replica with actor and reason, until it is over."""
    replicas = fleet.replicas(3)
    await leases(replicas)
    stands, new = await control.pause(asked, _ALICE)
    assert new
    assert [lease.pause for lease in await leases(replicas)] == [stands] * 3
    assert (stands.actor, stands.reason) == ("alice", "incident 12")
    assert await control.resume(asked, _BOB) == stands
    assert [lease.pause for lease in await leases(replicas)] == [None] * 3
    assert await audited(fleet) == [
        ("alice", "incident 12", "pause", {"changed": True}),
        ("bob", "maintenance", "resume", {"changed": True}),
    ]


async def test_a_pause_that_stands_stays_as_it_is(fleet: Crew, asked: Session) -> None:
    """A second pause is told whose stands, and changes nothing but the audit; so a vain resume."""
    first, _ = await control.pause(asked, _ALICE)
    assert await control.pause(asked, _BOB) == (first, False)
    await control.resume(asked, _ALICE)
    assert await control.resume(asked, _BOB) is None
    assert [(actor, subject["changed"]) for actor, _, _, subject in await audited(fleet)] == [
        ("alice", True),
        ("bob", False),
        ("alice", True),
        ("bob", False),
    ]


async def test_a_pause_ends_by_itself(fleet: Crew, asked: Session) -> None:
    """At its time all replicas are told that it is over, whoever asks first, and it is audited."""
    replicas = fleet.replicas(3)
    stands, _ = await control.pause(asked, _ALICE, 2)
    assert stands.until is not None
    assert stands.until - stands.since == timedelta(seconds=2)
    assert [lease.pause for lease in await leases(replicas)] == [stands] * 3

    async def is_over() -> bool:
        return (await replicas[0].lease(HUNGRY, SOUND)).pause is None

    await eventually(is_over, "the pause is over", 10)
    ((now,),) = await fleet.schema.rows("SELECT clock_timestamp()")
    assert timedelta(0) <= now - stands.until < timedelta(seconds=1)
    assert [lease.pause for lease in await leases(replicas)] == [None] * 3
    began, over = await audited(fleet)
    assert began == ("alice", "incident 12", "pause", {"changed": True, "for_seconds": 2})
    assert over[:3] == (
        "resolution-worker",
        "the time that the pause was given is over",
        "resume",
    )
    assert datetime.fromisoformat(over[3].pop("until")) == stands.until
    assert over[3] == {"changed": True, "paused_by": "alice"}


async def test_replicas_of_the_version_before_are_told_that_a_pause_is_over(
    fleet: Crew, asked: Session
) -> None:
    """The lease that any replica writes after that time takes the pause out of the row itself."""
    one = fleet.replica()
    await control.pause(asked, _ALICE, 3600)
    await one.lease(HUNGRY, SOUND)
    assert await _row(fleet) == ("alice", "incident 12", True, True)
    await _let_pass(fleet)
    await one.lease(HUNGRY, SOUND)
    assert await _row(fleet) == (None, None, False, False)


async def test_a_pause_whose_time_is_over_is_none(fleet: Crew, asked: Session) -> None:
    """Where no replica lives either: it is not shown, can't be ended, and another may begin."""
    await control.pause(asked, _ALICE, 3600)
    await _let_pass(fleet)
    assert (await fleet_status(asked.fetch, DEFAULT_SELLER)).pause is None
    assert await control.resume(asked, _BOB) is None
    await control.pause(asked, _ALICE, 3600)
    await _let_pass(fleet)
    stands, new = await control.pause(asked, _BOB)
    assert (stands.actor, stands.until, new) == ("bob", None, True)
    assert (await fleet_status(asked.fetch, DEFAULT_SELLER)).pause == stands


async def test_a_pause_over_another_changes_no_end(fleet: Crew, asked: Session) -> None:
    """A pause with an end does not shorten one without, nor one without prolong one with an end."""
    without, _ = await control.pause(asked, _ALICE)
    assert await control.pause(asked, _BOB, 60) == (without, False)
    await control.resume(asked, _BOB)
    ending, _ = await control.pause(asked, _ALICE, 60)
    assert ending.until is not None
    assert await control.pause(asked, _BOB) == (ending, False)
    assert await control.pause(asked, _BOB, 3600) == (ending, False)
    ended = await control.resume(asked, _BOB)
    assert ended == replace(ending, until=None)
    assert await _row(fleet) == (None, None, False, False)


async def test_a_command_of_the_version_before_leaves_no_end_behind(
    fleet: Crew, asked: Session
) -> None:
    """A pause that an older program begins after one with an end lasts until somebody ends it."""
    await control.pause(asked, _ALICE, 3600)
    await control.resume(asked, _ALICE)
    await asked.fetch("SELECT resolution.pause('default', 'bob', 'older')")
    pause = (await fleet.replica().lease(HUNGRY, SOUND)).pause
    assert pause is not None
    assert (pause.actor, pause.until) == ("bob", None)


@pytest.mark.parametrize("seconds", [0, 0.5, -60, 604_801, float("nan"), float("inf")])
async def test_a_pause_has_a_sensible_length(fleet: Crew, asked: Session, seconds: float) -> None:
    """Less than a second or more than a week is refused, and nothing is paused."""
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await control.pause(asked, _ALICE, seconds)
    assert (await fleet.replica().lease(HUNGRY, SOUND)).pause is None


async def _row(fleet: Crew) -> tuple[str | None, str | None, bool, bool]:
    """The pause as it is stored: who, why, whether there is one, and whether it has an end."""
    ((*found,),) = await fleet.schema.rows(
        "SELECT pause_actor, pause_reason, paused_at IS NOT NULL, pause_until IS NOT NULL"
        " FROM resolution.quota"
    )
    return found[0], found[1], found[2], found[3]


async def _let_pass(fleet: Crew) -> None:
    """Let the time of a pause be over, as if nobody had written the row since."""
    await fleet.schema.execute(
        """ALTER TABLE resolution.quota DISABLE TRIGGER quota_pause_ends;
        UPDATE resolution.quota SET pause_until = clock_timestamp();
        ALTER TABLE resolution.quota ENABLE TRIGGER quota_pause_ends"""
    )


async def test_a_pause_comes_before_the_first_replica(fleet: Crew, asked: Session) -> None:
    """Calls may be paused where no replica ever was: the first that starts is told."""
    await control.pause(asked, _ALICE)
    lease = await fleet.replica().lease(HUNGRY, SOUND)
    assert lease.pause is not None
    assert lease.rate == 40.0


async def test_a_ceiling_by_command_stands_in_place_of_the_settings(
    fleet: Crew, asked: Session
) -> None:
    """It holds for all replicas, lower or higher than their settings, until it is taken back."""
    replicas = fleet.replicas(2, ceiling=20)
    await leases(replicas)
    for ceiling in (5.0, 80.0, None):
        await control.set_ceiling(asked, _ALICE, ceiling)
        assert {lease.ceiling for lease in await leases(replicas)} == {ceiling}
    before = await control.reset_ceiling(asked, _BOB)
    assert before is not None
    assert (before.ceiling, before.actor) == (None, "alice")
    assert {lease.ceiling for lease in await leases(replicas)} == {20}
    assert [entry[2:] for entry in await audited(fleet)] == [
        ("rate.set", {"ceiling": 5.0, "before": None}),
        ("rate.set", {"ceiling": 80.0, "before": 5.0}),
        ("rate.set", {"ceiling": "none", "before": 80.0}),
        ("rate.default", {"before": "none"}),
    ]


async def test_a_lower_ceiling_holds_with_the_next_lease(fleet: Crew, asked: Session) -> None:
    """The rate is within a new ceiling at once, and survives in it a restart of all replicas."""
    first = fleet.replica()
    await first.lease(HUNGRY, SOUND)
    await control.set_ceiling(asked, _ALICE, 5)
    assert (await first.lease(HUNGRY, SOUND)).rate == 5
    await first.leave()
    assert (await fleet.replica().lease(HUNGRY, SOUND)).rate == 5


async def test_a_lease_computed_before_a_command_is_not_written_after_it(
    fleet: Crew, asked: Session
) -> None:
    """What a replica has computed from before a command is void: it computes again."""
    one = fleet.replica()
    await one.lease(HUNGRY, SOUND)
    ((seen,),) = await fleet.schema.rows("SELECT version FROM resolution.quota")
    await control.pause(asked, _ALICE)
    ((now,),) = await fleet.schema.rows("SELECT version FROM resolution.quota")
    assert now > seen


async def test_the_search_begins_anew_from_where_the_rate_is(fleet: Crew, asked: Session) -> None:
    """The rate stays and its state is a search again; where none is known nothing is done."""
    assert await control.search_again(asked, _ALICE) is None
    one = fleet.replica()
    await one.lease(HUNGRY, SOUND)
    await fleet.schema.execute(
        """UPDATE resolution.quota SET rate = 23,
        state = state || '{"rate": 23, "searching": false, "low": 20, "peak": 25}'"""
    )
    assert await control.search_again(asked, _BOB) == 23
    assert (await one.lease(HUNGRY, SOUND)).rate == 23
    ((state,),) = await fleet.schema.rows("SELECT state::text FROM resolution.quota")
    assert orjson.loads(state)["searching"] is True
    assert [entry[2:] for entry in await audited(fleet)] == [
        ("rate.search", {"from": None}),
        ("rate.search", {"from": 23.0}),
    ]


async def test_change_and_entry_stand_or_fall_together(fleet: Crew) -> None:
    """Where the entry can't be written nothing is paused."""
    async with session(fleet.schema.worker) as opened:
        for nobody in (
            AuditContext(DEFAULT_SELLER, "", "why"),
            AuditContext(DEFAULT_SELLER, "alice", ""),
        ):
            with pytest.raises(asyncpg.InvalidParameterValueError):
                await control.pause(opened, nobody)
    assert (await fleet.replica().lease(HUNGRY, SOUND)).pause is None


async def test_words_of_any_kind_are_stored(fleet: Crew, asked: Session) -> None:
    """Actor and reason that a text column can't hold are stored as far as they can be."""
    odd = AuditContext(DEFAULT_SELLER, "a\0", "b\ud800")
    stands, _ = await control.pause(asked, odd)
    assert (stands.actor, stands.reason) == ("a\ufffd", "b\ufffd")


async def test_how_the_fleet_stands(fleet: Crew, asked: Session) -> None:
    """Rate, ceilings, live replicas with their shares, and refusals are read as they are."""
    nothing = await fleet_status(asked.fetch, DEFAULT_SELLER)
    assert (nothing.rate, nothing.members, nothing.refused) == (None, (), ())
    high, low = fleet.replica(30), fleet.replica(20)
    (*_, lease) = await settled([high, low])
    await high.lease(HUNGRY, REFUSED)
    found = await fleet_status(asked.fetch, DEFAULT_SELLER)
    assert (found.rate, found.configured, found.ceiling) == (lease.rate, 20, 20)
    assert [each.replica for each in found.members] == sorted([high.replica, low.replica])
    assert sum(each.share for each in found.members) == pytest.approx(20, rel=0.01)
    (refused,) = found.refused
    assert (refused.replica, refused.refused_code, refused.probes) == (high.replica, DENIED.code, 3)
    assert refused.refused_at is not None
    refused_for = (refused.seen_at - refused.refused_at).total_seconds()
    assert refused_for == pytest.approx(5, abs=0.001)
    await high.lease(HUNGRY, SOUND)
    assert not (await fleet_status(asked.fetch, DEFAULT_SELLER)).refused


@pytest.mark.parametrize(
    "forbidden",
    [
        "DELETE FROM resolution.quota",
        "TRUNCATE resolution.replica",
        "UPDATE resolution.audit SET actor = 'x'",
        "DELETE FROM resolution.audit",
    ],
)
async def test_the_worker_may_not(fleet: Crew, forbidden: str) -> None:
    """The worker's role removes no seller's row and changes no entry of the audit."""
    async with connected(fleet.schema.worker) as worker:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.execute(forbidden)


async def test_an_operator_may_not(fleet: Crew) -> None:
    """People on call see the replicas, and do not change them."""
    async with connected(fleet.schema.operator) as operator:
        assert await operator.fetch("SELECT * FROM resolution.replica") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await operator.execute("DELETE FROM resolution.replica")
