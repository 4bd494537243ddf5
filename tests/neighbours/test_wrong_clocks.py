"""Clocks that are hours off: a replica's, the web tier's, the database's."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks.quota.figures import Figure
from harness.clocks import clock
from harness.ground import migrated
from harness.servers import PostgresServer
from tests.acceptance.outcomes import sha256
from tests.neighbours.scenario import dying, scenario
from tests.neighbours.watching import becomes, readiness
from tests.seeds import seeds
from worker.lab.servers import postgres

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.ground import Ground
    from harness.installation import Installation
    from harness.programs import Worker
    from tests.neighbours.callers import Caller
    from tests.neighbours.scenario import Scenario

pytestmark = [pytest.mark.neighbours, pytest.mark.timeout(300)]

_BUYERS_RATE: Final = 8
_HOURS: Final = 5 * 3600
_LAST_SECONDS: Final = 5.0
_START_SECONDS: Final = 15.0
# A token that AWS never answers is given up soon, so that there are dead letters to look at.
_DELAYS: Final = "1s"
_SETTINGS: Final = {"WORKER_RETRY__ATTEMPTS": "2"}
_DYING: Final = 5
_LETTERS_SECONDS: Final = 30.0
_REDEEMABLE: Final = """\
SELECT token_sha256 FROM resolution.dead_letter
WHERE state = 'open' AND sealed IS NOT NULL
    AND redeemable_until BETWEEN now() + interval '3 hours 50 minutes'
        AND now() + interval '4 hours 10 minutes'
"""


async def _letters(stage: Installation, callers: Sequence[Caller]) -> list[Figure]:
    """How many tokens were given up, rightly, and can be replayed for as long as they live."""
    due = {sha256(token) for caller in callers for token in dying(caller)}
    found: set[bytes] = set()

    async def all_there() -> bool:
        rows = await stage.schema.rows(_REDEEMABLE)
        found.update({row["token_sha256"] for row in rows} & due)
        return found == due

    await becomes(all_there, _LETTERS_SECONDS, every=1.0)
    return [Figure("letters that can be replayed", len(found), least=len(due))]


async def _at_work(worker: Worker) -> None:
    """Wait until a replica takes part, unless its clock keeps it from that."""
    await becomes(lambda: bool(worker.logged("consuming")), _START_SECONDS)


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
async def test_clocks_of_two_replicas(ground: Ground, seed: int, *, thorough: bool) -> None:
    """Replicas hours ahead and behind, which AWS refuses, settle no token by their own time."""
    count = 200 if thorough else 80
    name = "clocks of replicas 5 h ahead and behind"
    async with scenario(ground, name, seed, delays=_DELAYS, settings=_SETTINGS) as on:
        off = [on.start(**clock(offset)) for offset in ("+5h", "-5h")]
        honest = await on.run()
        for worker in off:
            await _at_work(worker)
        async with readiness(honest) as well, readiness(off[0]) as ahead, readiness(off[1]) as late:
            await on.buyers.bring(count, _BUYERS_RATE)
            await on.buyers.all_answered(_LAST_SECONDS)
        named = [one.named(("clock",), _LAST_SECONDS) for one in (ahead, late)]
        on.conclude(
            [
                *await on.served(),
                Figure("honest one ready", well.ready, "%", least=99),
                Figure("the others name their clocks", min(named), "%", least=90),
            ]
        )


def _odd_times() -> list[dict[str, Any]]:
    """What web tiers whose clocks are off say of when a buyer came."""
    now = time.time()
    moments = [datetime.fromtimestamp(now + off, UTC) for off in (-_HOURS, _HOURS)]
    moments.append(datetime.fromtimestamp(0, UTC))
    received = [{"members": {"received_at": moment.isoformat()}} for moment in moments]
    return [*received, *({"timestamp": moment} for moment in moments)]


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
async def test_clocks_of_web_tiers(ground: Ground, seed: int) -> None:
    """No token is settled by when a web tier says that its buyer came."""
    name = "clocks of web tiers 5 h off, or at 0"
    async with (
        scenario(ground, name, seed, delays=_DELAYS, settings=_SETTINGS) as on,
        AsyncExitStack() as stack,
    ):
        worker = await on.run()
        odd = _odd_times()
        tiers = [await stack.enter_async_context(on.caller(f"tier-{n}")) for n, _ in enumerate(odd)]
        async with readiness(worker) as well, asyncio.TaskGroup() as group:
            group.create_task(on.buyers.bring(100, _BUYERS_RATE))
            for tier, times in zip(tiers, odd, strict=True):
                await tier.listen()
                group.create_task(tier.bring(10, 1, **times))
                group.create_task(tier.bring(1, 1, "fail-99", **times))
        on.conclude(
            [
                *await on.served(),
                Figure("ready", well.ready, "%", least=99),
                *await _letters(on.stage, tiers),
            ]
        )


@pytest.mark.parametrize("seed", seeds("NEIGHBOUR"))
@pytest.mark.parametrize("offset", ["+5h", "-5h"])
async def test_clock_of_the_database(
    ground: Ground, seed: int, offset: str, tmp_path: Path
) -> None:
    """A database hours off settles no token, and dead letters are kept by its own time."""
    async with postgres(tmp_path / "postgresql", clock(offset)) as running:
        server = PostgresServer(running.dsn, running.log)
        with migrated(server) as template:
            hurt = replace(ground, postgres=server, template=template)
            name = f"clock of the database, {offset}"
            async with scenario(hurt, name, seed, delays=_DELAYS, settings=_SETTINGS) as on:
                await _beside_the_database(on)


async def _beside_the_database(on: Scenario) -> None:
    worker, other = on.start(), on.start()
    for each in (worker, other):
        await _at_work(each)
    async with on.caller("unlucky") as unlucky:
        async with readiness(worker) as well, asyncio.TaskGroup() as group:
            group.create_task(on.buyers.bring(100, _BUYERS_RATE))
            group.create_task(unlucky.bring(_DYING, 1, "fail-99"))
        figures = await on.served()
        letters = await _letters(on.stage, [unlucky])
        named = well.named(("clock",), _LAST_SECONDS)
        on.conclude([*figures, *letters, Figure("/readyz names the clock", named, "%", least=90)])
