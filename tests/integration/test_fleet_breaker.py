"""The breaker that all replicas share: who is stopped, and who looks whether it is over."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from tests.integration.fleets import DENIED, HUNGRY, Crew, Stopwatch, crew, leases
from tests.schema import prepare
from worker.core.records import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import Database
    from worker.adapters.postgres.fleet import PostgresFleet

_DUE = "UPDATE resolution.breaker SET next_probe_at = now() - interval '1 ms'"


@pytest.fixture
async def fleet(database: Database) -> AsyncIterator[Crew]:
    """A fleet without replicas yet, on a database as an operator prepares it."""
    async with crew(await prepare(database)) as made:
        yield made


async def _granted(fleets: list[PostgresFleet], identity: str) -> int:
    """How many of them get the turn when all ask at the same instant."""
    return sum(await asyncio.gather(*(each.may_probe(identity) for each in fleets)))


async def test_a_refusal_stops_all_of_its_identity(fleet: Crew) -> None:
    """Whoever calls as the refused identity is told why; who calls as another is told of it."""
    first, second, other = fleet.replicas(3)
    await first.lease(HUNGRY, "old")
    await first.refuse("old", DENIED)
    stopped = await second.lease(HUNGRY, "old")
    assert stopped.refusal is not None
    assert (stopped.refusal.code, stopped.refusal.message) == (DENIED.code, DENIED.message)
    assert not stopped.others_refused
    free = await other.lease(HUNGRY, "new")
    assert (free.refusal, free.others_refused) == (None, True)


async def test_accepting_lets_all_call_again(fleet: Crew) -> None:
    """When one replica was accepted, all of its identity may call; another identity may not."""
    first, second = fleet.replicas(2)
    await leases([first, second])
    for identity in ("id", "second"):
        await first.refuse(identity, DENIED)
    await first.accept("id")
    assert (await second.lease(HUNGRY, "id")).refusal is None
    assert (await second.lease(HUNGRY, "second")).refusal is not None


async def test_a_fault_told_again_keeps_its_beginning(fleet: Crew) -> None:
    """Of a fault told by several the words are the last ones, and the time that of the first."""
    first, second = fleet.replicas(2)
    await first.lease(HUNGRY, "id")
    await first.refuse("id", DENIED)
    began = await first.lease(HUNGRY, "id")
    await second.refuse("id", Fault(FaultKind.SYSTEMIC, "ExpiredToken", "expired"))
    told = await first.lease(HUNGRY, "id")
    assert began.refusal is not None
    assert told.refusal is not None
    assert (told.refusal.code, told.refusal.since) == ("ExpiredToken", began.refusal.since)


async def test_words_of_any_kind_can_be_told(fleet: Crew) -> None:
    """A message that a text column can't hold, or that is very long, is stored as far as it can."""
    one = fleet.replica()
    message = "a\0b\ud800c" + "x" * 100_000
    await one.refuse("id\0", Fault(FaultKind.SYSTEMIC, "Odd\0" + "y" * 9_999, message))
    told = (await one.lease(HUNGRY, "id\0")).refusal
    assert told is not None
    assert told.message.startswith("a\ufffdb\ufffdc")
    assert (len(told.message), len(told.code)) == (500, 100)


async def test_of_many_exactly_one_may_probe(fleet: Crew) -> None:
    """Each time a probe is due one replica of eight gets the turn, and nobody before it is due."""
    replicas = fleet.replicas(8)
    await leases(replicas)
    await replicas[0].refuse("id", DENIED)
    assert await _granted(replicas, "id") == 0
    for _ in range(2):
        await asyncio.sleep(1.01)
        await fleet.schema.execute(_DUE)
        assert await _granted(replicas, "id") == 1
        assert await _granted(replicas, "id") == 0


async def test_probes_go_on_without_whoever_took_a_turn(fleet: Crew) -> None:
    """Probes follow each other at one to three seconds though every prober dies at once."""
    replicas = fleet.replicas(4)
    await leases(replicas)
    clock = Stopwatch()
    await replicas[0].refuse("id", DENIED)
    times = [0.0]
    while len(times) < 4:
        if await _granted(replicas, "id"):
            times.append(clock.seconds)
        assert clock.seconds < 12
        await asyncio.sleep(0.1)
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert min(gaps) > 0.95
    assert max(gaps) < 3.5
    assert 0.95 < gaps[0] < 1.8


async def test_two_identities_never_probe_within_one_second(fleet: Crew) -> None:
    """Two refused identities share the turns: probes are a second apart, and each has its own."""
    one, other = fleet.replicas(2)
    await leases([one, other])
    for identity in ("id", "second"):
        await one.refuse(identity, DENIED)
    clock = Stopwatch()
    probes: list[tuple[float, str]] = []
    while clock.seconds < 6:
        for replica, identity in ((one, "id"), (other, "second")):
            if await replica.may_probe(identity):
                probes.append((clock.seconds, identity))
        await asyncio.sleep(0.1)
    gaps = [later - sooner for (sooner, _), (later, _) in itertools.pairwise(probes)]
    assert min(gaps) > 0.95
    assert {identity for _, identity in probes} == {"id", "second"}


async def test_nobody_probes_for_an_identity_that_is_not_refused(fleet: Crew) -> None:
    """Where nothing is refused there is no turn to take."""
    one = fleet.replica()
    await one.lease(HUNGRY, "id")
    assert not await one.may_probe("id")
    await one.refuse("id", DENIED)
    await fleet.schema.execute(_DUE)
    assert not await one.may_probe("another")
    assert await one.may_probe("id")


async def test_a_refusal_long_past_worries_nobody(fleet: Crew) -> None:
    """Another identity's refusal counts for some minutes after somebody last met it."""
    one = fleet.replica()
    await one.refuse("old", DENIED)
    assert (await one.lease(HUNGRY, "id")).others_refused
    await fleet.schema.execute("UPDATE resolution.breaker SET seen_at = now() - interval '6 min'")
    assert not (await one.lease(HUNGRY, "id")).others_refused


async def test_a_refusal_survives_a_restart_of_everything(fleet: Crew) -> None:
    """A fleet that starts anew as a refused identity does not call before a probe."""
    first = fleet.replica()
    await first.lease(HUNGRY, "id")
    await first.refuse("id", DENIED)
    await first.leave()
    assert (await fleet.replica().lease(HUNGRY, "id")).refusal is not None
