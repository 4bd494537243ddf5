"""What replicas tell each other of AWS's refusals, and whose turn it is to look again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.integration.fleets import HUNGRY, REFUSED, SOUND, Crew, crew, leases
from worker.core.records import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.schema import Schema


_DUE = "UPDATE resolution.quota SET last_probe_at = now() - interval '1001 ms'"


@pytest.fixture
async def fleet(schema: Schema) -> AsyncIterator[Crew]:
    """A fleet without replicas yet, on a database as an operator prepares it."""
    async with crew(schema) as made:
        yield made


async def test_a_refusal_stops_nobody_else(fleet: Crew) -> None:
    """The others hear how many are refused, and who is refused hears how many are not."""
    sick, first, second = fleet.replicas(3)
    await leases([first, second])
    told = await sick.lease(HUNGRY, REFUSED)
    assert (told.able, told.refused) == (2, 0)
    heard = await first.lease(HUNGRY, SOUND)
    assert (heard.able, heard.refused) == (1, 1)
    await sick.lease(HUNGRY, SOUND)
    heard = await first.lease(HUNGRY, SOUND)
    assert (heard.able, heard.refused) == (2, 0)


async def test_when_another_was_accepted_is_told(fleet: Crew) -> None:
    """Of those that AWS does not refuse the one that it accepted last, on the asker's clock."""
    asker, never, sick, old, young = fleet.replicas(5)
    await never.lease(HUNGRY, replace(SOUND, accepted_seconds=None))
    await sick.lease(HUNGRY, replace(REFUSED, accepted_seconds=0.0))
    assert (await asker.lease(HUNGRY, REFUSED)).accepted_elsewhere is None
    await old.lease(HUNGRY, replace(SOUND, accepted_seconds=900.0))
    await young.lease(HUNGRY, replace(SOUND, accepted_seconds=60.0))
    before = asyncio.get_running_loop().time()
    accepted = (await asker.lease(HUNGRY, REFUSED)).accepted_elsewhere
    assert accepted is not None
    assert before - 62 < accepted <= before - 60 + 1


async def test_words_of_any_kind_can_be_told(fleet: Crew) -> None:
    """A message that a text column can't hold, or that is very long, is stored as far as it can."""
    one = fleet.replica()
    message = "a\0b\ud800c" + "x" * 100_000
    odd = Fault(FaultKind.SYSTEMIC, "Odd\0" + "y" * 9_999, message)
    await one.lease(HUNGRY, replace(REFUSED, identity="id\0", refusal=odd))
    ((told, code),) = await fleet.schema.rows(
        "SELECT refused_message, refused_code FROM resolution.replica"
    )
    assert told.startswith("a\ufffdb\ufffdc")
    assert (len(told), len(code)) == (500, 100)


async def test_of_many_exactly_one_may_probe(fleet: Crew) -> None:
    """Each time a probe is due one replica of eight gets the turn, and nobody before it is due."""
    replicas = fleet.replicas(8)
    await leases(replicas)
    for _ in range(2):
        granted = await asyncio.gather(*(each.may_probe() for each in replicas))
        assert sum(granted) == 1
        assert not await replicas[0].may_probe()
        await fleet.schema.execute(_DUE)


async def test_a_seller_without_a_lease_gives_no_turn(fleet: Crew) -> None:
    """Nobody probes before the first lease, for there is nothing to take turns at."""
    assert not await fleet.replica().may_probe()
