"""The shared rate and its shares, among real replicas on a real database."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog

from harness.letter_queries import cpu_milliseconds
from harness.schema import connected
from tests.integration.fleets import (
    HUNGRY,
    IDLE,
    REFUSED,
    SOUND,
    Crew,
    Stopwatch,
    crew,
    leases,
    settled,
)
from worker.core.exceptions import LedgerUnavailable
from worker.core.rate.fleet import ReplicaState, Report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.schema import Schema


@pytest.fixture
async def fleet(schema: Schema) -> AsyncIterator[Crew]:
    """A fleet without replicas yet; its search starts at 40 calls a second."""
    async with crew(schema) as made:
        yield made


async def test_the_first_lease_starts_at_the_initial_rate(fleet: Crew) -> None:
    """Where nothing is known yet, a lone replica gets all of the initial rate."""
    (lease,) = await leases(fleet.replicas(1))
    assert (lease.rate, lease.share, lease.replicas) == (40.0, 40.0, 1)
    assert (lease.ceiling, lease.pause, lease.able, lease.refused) == (None, None, 0, 0)
    assert (lease.accepted_elsewhere, lease.deaths) == (None, 0)


async def test_sixteen_at_once_share_the_rate_evenly(fleet: Crew) -> None:
    """Sixteen that ask at the same instant come to equal shares, which add up to the rate."""
    replicas = fleet.replicas(16)
    found = await settled(replicas)
    assert {lease.replicas for lease in found} == {16}
    assert sum(lease.share for lease in found) <= found[-1].rate * 1.001
    assert min(lease.share for lease in found) >= found[-1].rate / 16 * 0.95


async def test_no_lease_is_lost_among_many(fleet: Crew) -> None:
    """Each of many leases taken at once counts: the reports of all arrive in the shared state."""
    replicas = fleet.replicas(8)
    await leases(replicas)
    row = "SELECT version, state::text FROM resolution.quota"
    ((before, _),) = await fleet.schema.rows(row)
    await leases(replicas, Report(float("inf"), calls=1000, successes=1000))
    ((version, state),) = await fleet.schema.rows(row)
    assert version == before + 8
    assert 2000 < orjson.loads(state)["law"]["calls"] <= 8000  # what is older counts less


async def test_the_share_of_an_idle_replica_is_lent_on(fleet: Crew) -> None:
    """Those that wait for permits share what the idle ones do not need, but for a little."""
    busy, *idle = fleet.replicas(4)
    for _ in range(2):
        await leases(idle, IDLE)
        await busy.lease(HUNGRY, SOUND)
    lease = await busy.lease(HUNGRY, SOUND)
    assert lease.share >= 0.9 * lease.rate


async def test_a_dead_replicas_share_is_back_once_it_lapsed(fleet: Crew) -> None:
    """What a replica held that no longer calls goes to the others: two leases after it lapsed."""
    dead, *alive = fleet.replicas(4)
    before = await settled([dead, *alive])
    assert before[-1].replicas == 4
    lapse = "SELECT extract(EPOCH FROM expires_at - {}) FROM resolution.replica WHERE id = $1"

    async def seconds(since: str) -> float:
        ((found,),) = await fleet.schema.rows(lapse.format(since), dead.replica)
        return float(found)

    assert await seconds("seen_at") == pytest.approx(3, abs=0.01)
    while await seconds("clock_timestamp()") > 0:
        await leases(alive)
        await asyncio.sleep(0.5)
    await leases(alive)
    found = await leases(alive)
    assert sum(lease.share for lease in found) >= 0.99 * found[-1].rate
    assert found[-1].replicas == 3


async def test_leaving_gives_the_share_back_at_once(fleet: Crew) -> None:
    """A replica that leaves is no longer counted, and its row is gone."""
    gone, stays = fleet.replicas(2)
    await settled([gone, stays])
    await gone.leave()
    lease = await stays.lease(HUNGRY, SOUND)
    assert (lease.replicas, lease.share) == (1, lease.rate)
    assert [row["id"] for row in await fleet.schema.rows("SELECT id FROM resolution.replica")] == [
        stays.replica
    ]


async def test_rows_of_the_long_dead_are_removed(fleet: Crew) -> None:
    """A lease removes replicas that somebody missed and that are dead for a quarter of an hour."""
    old, young = fleet.replicas(2)
    await leases([old])
    await fleet.schema.execute(
        "UPDATE resolution.replica SET expires_at = now() - interval '16 min'"
    )
    await leases([young])
    await leases([young])
    rows = await fleet.schema.rows("SELECT id FROM resolution.replica")
    assert rows == [(young.replica,)]


_MISSED = "UPDATE resolution.replica SET missed_at = now() - interval '6 s' WHERE id = '{}'"


async def test_a_lease_that_lapsed_without_a_goodbye_is_a_death(fleet: Crew) -> None:
    """Once somebody has missed it for some seconds; who says goodbye or comes back is not dead."""
    killed, leaves, frozen, stays = fleet.replicas(4)
    await leases([killed, leaves, frozen, stays])
    await leaves.leave()
    await fleet.schema.execute("UPDATE resolution.replica SET expires_at = now()")
    (first,) = await leases([stays])
    assert first.deaths == 0, "the database may have been away"
    for each in (killed, frozen):
        await fleet.schema.execute(_MISSED.format(each.replica))
    (lease,) = await leases([stays])
    assert lease.deaths == 2
    (lease, _) = await leases([stays, frozen])
    (lease,) = await leases([stays])
    assert lease.deaths == 1
    await fleet.schema.execute(
        f"UPDATE resolution.replica SET expires_at = now() - interval '11 min'"
        f" WHERE id = '{killed.replica}'"
    )
    (lease,) = await leases([stays])
    assert lease.deaths == 0, "it was long ago"


async def test_a_lease_tells_what_the_databases_clock_shows(fleet: Crew) -> None:
    """To within the time that asking took."""
    loop = asyncio.get_running_loop()
    began, before = loop.time(), datetime.now(UTC)
    (lease,) = await leases(fleet.replicas(1))
    assert lease.clock is not None
    assert began <= lease.clock.at <= loop.time()
    apart = lease.clock.instant - before  # one machine has one clock
    assert timedelta(0) <= apart <= timedelta(seconds=loop.time() - began)


async def test_a_lease_tells_what_the_others_have_in_hand(fleet: Crew) -> None:
    """Live messages of the other replicas are added up; what can't be counts as none."""
    one, *others = fleet.replicas(4)
    for number, other in enumerate(others, 1):
        in_hand = {"live": (number, number / 2), "backlog": (100, 100.0)}
        await other.lease(IDLE, ReplicaState("id", in_hand=in_hand))
    own = ReplicaState("id", in_hand={"live": (50, 50.0)})
    assert (await one.lease(IDLE, own)).live_elsewhere == (6, 1.5)
    for nonsense in ("null", "5", '{"live": [1e400, 1]}', '{"live": [-1, 2]}', '{"live": {}}'):
        await fleet.schema.execute(
            f"UPDATE resolution.replica SET in_hand = '{nonsense}' WHERE id = 'replica-3'"
        )
        assert (await one.lease(IDLE, own)).live_elsewhere == (3, 1.0)


async def test_the_rate_survives_a_restart_of_everything(fleet: Crew) -> None:
    """Replicas that start where all others have ended go on at the last rate, not the initial."""
    first = fleet.replica()
    await first.lease(HUNGRY, SOUND)
    await fleet.schema.execute(
        """UPDATE resolution.quota SET state = state || '{"rate": 23, "searching": false}'"""
    )
    await first.leave()
    assert (await fleet.replica().lease(HUNGRY, SOUND)).rate == 23.0


OLDER = (
    '{"rate": 7, "epoch_began": 1, "updated": 2, "calls": 9, "successes": 9, "peak": 30,'
    ' "low": 3, "searching": false}'
)


async def test_a_state_of_another_version_gives_its_rate(fleet: Crew) -> None:
    """The rate is kept, the rest begun anew, which is said once; nonsense starts anew."""
    one = fleet.replica()
    with structlog.testing.capture_logs() as log:
        for _ in range(2):
            await one.lease(HUNGRY, SOUND)
            await fleet.schema.execute(f"UPDATE resolution.quota SET state = '{OLDER}'")
            assert (await one.lease(HUNGRY, SOUND)).rate == 7.0
    assert [entry["event"] for entry in log] == ["rate_state_restarted"]
    ((state,),) = await fleet.schema.rows("SELECT state::text FROM resolution.quota")
    written = orjson.loads(state)
    assert (written["searching"], written["law"]["peak"]) == (False, 0.0)
    # Older versions, which still run, see an epoch that has just begun, and change nothing.
    assert written["epoch_began"] == written["updated"]


async def test_a_stored_state_is_read_for_what_it_says(fleet: Crew) -> None:
    """One that lacks members or has others is understood, nonsense starts anew."""
    one = fleet.replica()
    for state, rate in (('{"rate": 7, "new": []}', 7.0), ('{"rate": "x"}', 40.0)):
        await one.lease(HUNGRY, SOUND)
        await fleet.schema.execute(f"UPDATE resolution.quota SET state = '{state}'")
        assert (await one.lease(HUNGRY, SOUND)).rate == rate


async def test_the_lowest_configured_ceiling_holds(fleet: Crew) -> None:
    """Of different ceilings in the settings of live replicas the lowest bounds the rate of all."""
    low, high, none = fleet.replica(5), fleet.replica(30), fleet.replica(None)
    await leases([low, high, none])
    found = await leases([high, none])
    assert [(lease.ceiling, lease.rate) for lease in found] == [(5, 5), (5, 5)]
    await low.leave()
    assert (await none.lease(HUNGRY, SOUND)).ceiling == 30
    high.ceiling = 60
    lease = await high.lease(HUNGRY, SOUND)
    assert (lease.ceiling, lease.rate) == (60, 40), (
        "a ceiling lowers what is used, not what is known"
    )


async def test_two_sellers_have_nothing_in_common(fleet: Crew) -> None:
    """Rate and replicas are each seller's own."""
    one, other = fleet.replica(), fleet.replica(3, seller="second")
    await leases([one, other])
    await other.lease(HUNGRY, REFUSED)
    lease = await one.lease(HUNGRY, SOUND)
    assert (lease.replicas, lease.ceiling, lease.refused) == (1, None, 0)


async def test_a_frozen_replica_stops_nobody(fleet: Crew) -> None:
    """One that has read but not yet written when it freezes delays no other's lease."""
    await fleet.replica().lease(HUNGRY, SOUND)
    async with connected(fleet.schema.worker) as frozen:
        await frozen.execute("BEGIN; SELECT * FROM resolution.quota, resolution.replica")
        await settled(fleet.replicas(4))  # who had to wait for a lock would fail


async def test_a_row_that_is_locked_is_not_waited_for_long(fleet: Crew) -> None:
    """Where the row can't be had a lease fails after two seconds, and the next succeeds."""
    one = fleet.replica()
    await one.lease(HUNGRY, SOUND)
    async with connected(fleet.schema.superuser) as locking:
        await locking.execute("BEGIN; SELECT FROM resolution.quota FOR UPDATE")
        clock = Stopwatch()
        with pytest.raises(LedgerUnavailable):
            await one.lease(HUNGRY, SOUND)
        assert clock.seconds < 10  # for want of a bound it would be 30
    assert (await one.lease(HUNGRY, SOUND)).share == 40.0


async def test_an_absent_database_is_told_as_such(fleet: Crew) -> None:
    """Every method says that the database is away, and works again once it is back."""
    one = fleet.replica()
    await one.lease(HUNGRY, SOUND)
    await fleet.schema.execute("ALTER TABLE resolution.quota RENAME TO away")
    with pytest.raises(LedgerUnavailable, match="migrate"):
        await one.lease(HUNGRY, SOUND)
    with pytest.raises(LedgerUnavailable, match="migrate"):
        await one.permit()
    await fleet.schema.execute("ALTER TABLE resolution.away RENAME TO quota")
    assert await one.permit() == 0.0


async def test_two_hundred_leases_are_little_work(fleet: Crew) -> None:
    """A lease costs us and the server a few hundredths of a second, even with sixteen at once."""
    replicas = fleet.replicas(16)
    await leases(replicas)
    rows = await fleet.schema.rows(
        "SELECT pid FROM pg_stat_activity WHERE usename = 'resolution_worker'"
        " AND datname = current_database()"
    )

    def spent() -> float:  # and not how long it took: other tests share the machine
        return time.process_time() + sum(cpu_milliseconds(row["pid"]) for row in rows) / 1000

    before = spent()
    for _ in range(12):
        await leases(replicas)
    assert (spent() - before) / (12 * 16) < 0.06


# --- single permits ---


async def test_single_permits_come_evenly_to_all(schema: Schema) -> None:
    """At two a second over eight replicas permits follow each other at half a second."""
    async with crew(schema, initial=2.0) as fleet:
        replicas = fleet.replicas(8)
        found = await settled(replicas)
        assert all(lease.singly for lease in found)
        waits, dues = [], []
        async with connected(schema.superuser) as looking:
            for replica in replicas:
                waits.append(await replica.permit())
                dues.append(await looking.fetchval("SELECT next_permit_at FROM resolution.quota"))
    gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(dues)]
    assert gaps == pytest.approx([0.5] * 7, abs=0.01)
    assert waits[0] == 0
    assert max(waits) <= 3.5


async def test_permits_that_nobody_takes_are_not_saved_up(schema: Schema) -> None:
    """After a rest one permit is ready, not several."""
    async with crew(schema, initial=5.0) as fleet:
        one = fleet.replica()
        await one.lease(HUNGRY, SOUND)
        await one.permit()
        await asyncio.sleep(1)
        waits = [await one.permit() for _ in range(3)]
    assert waits[0] == 0.0
    assert waits[1] > 0.1
    assert waits[2] > 0.3


async def test_a_permit_put_far_off_is_drawn_nearer(schema: Schema) -> None:
    """When the rate has risen, a next permit set by the old rate is at most ten seconds away."""
    async with crew(schema, initial=2.0) as fleet:
        one = fleet.replica()
        await one.lease(HUNGRY, SOUND)
        await schema.execute("UPDATE resolution.quota SET next_permit_at = now() + '1 h'")
        assert 9 < await one.permit() <= 10


async def test_no_permit_without_a_rate(fleet: Crew) -> None:
    """A permit asked for before any lease is refused in words."""
    with pytest.raises(LedgerUnavailable, match="no rate yet"):
        await fleet.replica().permit()


async def test_all_replicas_tell_one_number_of_wanted_ones(fleet: Crew) -> None:
    """Half a minute of more buyers than one can serve; what each has seen counts for all."""
    replicas = fleet.replicas(3)
    busy = ReplicaState("id", accepted_seconds=0.0, concurrency=2, live=3000, bulk=0)
    slow = Report(float("inf"), calls=2, successes=2, busy_seconds=4.0)
    first = await leases(replicas, slow, busy)
    assert {lease.wanted for lease in first} == {None}
    await leases(replicas, slow, busy)
    since = "state::jsonb, '{capacity,since}', to_jsonb(extract(EPOCH FROM now()) - 31)"
    await fleet.schema.execute(f"UPDATE resolution.quota SET state = jsonb_set({since})")
    await leases(replicas, slow, busy)
    found = await leases(replicas, slow, busy)
    assert {lease.wanted for lease in found} == {8}  # 40 a second: five for each


async def test_a_roll_out_tells_no_number_of_wanted_replicas(fleet: Crew) -> None:
    """While a version before drops the plan there is none; then it is what is worth it."""
    replicas = fleet.replicas(4)
    idle = ReplicaState("id", accepted_seconds=0.0, live=0, bulk=0)
    for _ in range(3):
        assert {lease.wanted for lease in await leases(replicas, IDLE, idle)} == {None}
        await fleet.schema.execute(
            "UPDATE resolution.quota SET state = (state::jsonb - 'capacity')::json"
        )
    for _ in range(2):
        await leases(replicas, IDLE, idle)
    since = "state::jsonb, '{capacity,since}', to_jsonb(extract(EPOCH FROM now()) - 11)"
    await fleet.schema.execute(f"UPDATE resolution.quota SET state = jsonb_set({since})")
    assert {lease.wanted for lease in await leases(replicas, IDLE, idle)} == {1}
