"""A database that freezes, dies, fills up, refuses, or is cut off at the worst moment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import asyncpg
import pytest

from harness.history import Due
from harness.schema import connected
from harness.system import FaultCase, conclude, run_fault
from harness.waiting import eventually
from tests.faults.queues import with_arguments
from tests.faults.tmpfs import fill, permitted, tmpfs
from tests.seeds import seeds

if TYPE_CHECKING:
    from pathlib import Path

    from harness.ground import Ground
    from harness.system import System
    from worker.adapters.rabbitmq.topology import Topology
    from worker.lab.servers import Postgres

# What a worker logs while its database is away.
LEDGER = ("ledger_unavailable", "ledger_unreadable")
pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_postgres_frozen(database_ground: Ground, own_postgres: Postgres, seed: int) -> None:
    """A database that stands still for longer than any time-out loses nothing."""

    async def freeze(_: System) -> None:
        own_postgres.server.freeze()
        try:
            await asyncio.sleep(20)
        finally:
            own_postgres.server.thaw()

    async with database_ground.system(seed) as system:
        await run_fault(system, FaultCase("postgres SIGSTOP 20 s", freeze, evidence=LEDGER), seed)


@pytest.mark.parametrize("seed", seeds("FAULT"))
@pytest.mark.parametrize("how", ["immediate", "kill -9"])
async def test_postgres_restarted(
    database_ground: Ground, own_postgres: Postgres, how: str, seed: int
) -> None:
    """A database that crashes and recovers has what it said it had."""

    async def restart(_: System) -> None:
        server = own_postgres.server
        if how == "immediate":
            server.thaw()
            os.kill(server.pid, signal.SIGQUIT)
            await server.ended()
        server.kill()
        await asyncio.sleep(2)
        await server.start()

    async with database_ground.system(seed) as system:
        await run_fault(
            system, FaultCase(f"postgres restarted, {how}", restart, evidence=LEDGER), seed
        )


async def read_only(system: System) -> None:
    """The whole database is read-only, and sessions that are open learn of it."""
    name = system.stage.schema.superuser.rpartition("/")[2]
    for words in ("SET default_transaction_read_only = on", "RESET default_transaction_read_only"):
        await system.stage.schema.execute(
            f"BEGIN; SET TRANSACTION READ WRITE; ALTER DATABASE {name} {words}; COMMIT"
        )
        await system.stage.schema.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'resolution_worker' AND datname = current_database()"
        )
        if words.startswith("SET"):
            await asyncio.sleep(4)


async def cut_during_commit(system: System) -> None:
    """The connection is gone as soon as COMMIT was sent: nobody knows whether it happened."""
    system.sql.cut_after_sending(b"COMMIT")
    await eventually(lambda: system.sql.cuts >= 4, "four connections are cut")
    system.sql.cut_after_sending(None)


async def cut_in_the_middle(system: System) -> None:
    """Connections break off in the middle of whatever is being sent."""
    for _ in range(8):
        system.sql.cut_after_bytes(system.factory.chance.randrange(4000))
        await asyncio.sleep(0.4)
    system.sql.cut_after_bytes(None)


async def refused(system: System) -> None:
    """Nobody listens."""
    await system.sql.shut()
    await asyncio.sleep(4)
    await system.sql.open()


async def half_open(system: System) -> None:
    """Whoever connects is accepted, and hears nothing more."""
    system.sql.silent = True
    await system.sql.reset()
    await asyncio.sleep(7)
    system.sql.silent = False
    await system.sql.reset()


async def stalled(system: System) -> None:
    """The network holds everything back, then lets it go."""
    system.sql.stall()
    await asyncio.sleep(12)
    system.sql.resume()


async def slow(system: System) -> None:
    """Every exchange takes a good while."""
    system.sql.latency = 0.2
    await asyncio.sleep(4)
    system.sql.latency = 0.0


_EARLIER, _LATER = "100000000001", "100000000002"
_LOCK_CUSTOMER = (
    "UPDATE resolution.customer SET last_resolved_at = last_resolved_at"
    " WHERE customer_aws_account_id = $1"
)


async def rivals(system: System) -> None:
    """Others lock the same rows in the other order, and the server picks who has to give way.

    A batch locks its customers in the order of their accounts.
    """
    log = system.logs[0]
    seen = log.stat().st_size

    def deadlocks() -> int:
        return log.read_bytes()[seen:].count(b"deadlock detected")

    async with connected(system.stage.schema.superuser) as connection, asyncio.timeout(30):
        while deadlocks() < 3:
            try:
                async with connection.transaction():
                    await connection.execute(_LOCK_CUSTOMER, _LATER)
                    words = (f"same-{account}-{{n}}" for account in (_EARLIER, _LATER))
                    some = [one for word in words for one in system.factory.of(word, 5)]
                    await system.client.publish_all(some)
                    await asyncio.sleep(0.3)
                    await connection.execute(_LOCK_CUSTOMER, _EARLIER)
            except asyncpg.DeadlockDetectedError:
                pass
            await asyncio.sleep(0.1)


async def no_rights(system: System) -> None:
    """Somebody takes the worker's right to write, and gives it back."""
    await system.stage.schema.execute("REVOKE INSERT ON resolution.ledger FROM resolution_worker")
    await asyncio.sleep(4)
    await system.stage.schema.execute("GRANT INSERT ON resolution.ledger TO resolution_worker")


CASES = [
    FaultCase("postgres read-only", read_only, evidence=LEDGER),
    FaultCase(
        "postgres cut during COMMIT", cut_during_commit, before=120, during=120, evidence=LEDGER
    ),
    FaultCase(
        "postgres cut in the middle", cut_in_the_middle, before=120, during=120, evidence=LEDGER
    ),
    FaultCase("postgres refusing connections", refused, evidence=LEDGER),
    FaultCase("postgres half open", half_open, evidence=LEDGER),
    FaultCase("postgres stalled 12 s", stalled, evidence=LEDGER),
    FaultCase("postgres slow", slow),
    FaultCase("postgres deadlock candidates", rivals, word=f"same-{_EARLIER}-{{n}}"),
    FaultCase("postgres right revoked", no_rights, evidence=LEDGER),
]
QUICK = {"postgres cut during COMMIT"}


@pytest.mark.parametrize("seed", seeds("FAULT"))
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(one, id=one.name, marks=[pytest.mark.faults_quick] * (one.name in QUICK))
        for one in CASES
    ],
)
async def test_database_out_of_order(ground: Ground, case: FaultCase, seed: int) -> None:
    """Whatever befalls the database for a while, nothing is lost or doubled, and work goes on."""
    async with ground.system(seed) as system:
        await run_fault(system, case, seed)


@pytest.mark.faults_quick
@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_one_poison_row(ground: Ground, seed: int) -> None:
    """A row that the database refuses stays resolved with what fits, and harms no neighbour."""
    async with ground.system(seed) as system:
        factory = system.factory
        (poison,) = factory.of("ok-{n}")
        assert poison.key is not None
        await system.stage.schema.execute(
            "ALTER TABLE resolution.ledger ADD CONSTRAINT no_poison CHECK"
            f" (token_sha256 <> '\\x{poison.key.hex()}' OR message_id LIKE 'refused-%')"
        )
        neighbours = [one for one in factory.some(199) if one.token != poison.token]
        batch = [*neighbours[:100], poison, *neighbours[100:]]
        await system.client.publish_all(batch)
        await system.run()
        await system.settled(system.client.sent)
        recovered = await system.recovery()
        await conclude(system, "postgres poison row", seed, recovered)


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_a_full_parked_queue(ground: Ground, seed: int) -> None:
    """What can be neither recorded nor parked waits, and is kept once there is room again."""

    def narrow(planned: Topology) -> Topology:
        return with_arguments(planned, "resolution.parked", max_length=2)

    async with ground.system(seed, narrow) as system:
        execute = system.stage.schema.execute
        bad = [
            system.factory.unreadable(
                json.dumps({"n": n}).encode(),
                due=(Due("malformed"), Due("parked")),
                reply_to=None,
            )
            for n in range(30)
        ]
        refused = ", ".join(f"'\\x{one.body_sha256.hex()}'" for one in bad)
        await execute(
            "ALTER TABLE resolution.dead_letter ADD CONSTRAINT nothing_bad"
            f" CHECK (body_sha256 NOT IN ({refused}))"
        )

        async def unrecordable(system: System) -> None:
            await system.client.publish_all(bad)
            logged = system.worker.logged
            await eventually(lambda: len(logged("row_refused")) > 40, "it is refused")
            await eventually(lambda: logged("publish_not_confirmed"), "a confirm is missed")
            await execute("ALTER TABLE resolution.dead_letter DROP CONSTRAINT nothing_bad")

        await run_fault(system, FaultCase("full parked queue", unrecordable, before=30), seed)


@pytest.mark.skipif(not permitted(), reason="no tmpfs may be mounted here")
@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_disk_full(ground: Ground, tmp_path: Path, seed: int) -> None:
    """A database whose disk is full is waited for, and nothing is lost."""
    space = f"small_{seed}"
    with tmpfs(tmp_path, "24m") as disk:
        (disk / "data").mkdir(mode=0o700)
        ground.postgres.execute(f"CREATE TABLESPACE {space} LOCATION '{disk / 'data'}'")
        try:
            async with ground.system(seed) as system:
                name = system.stage.schema.superuser.rpartition("/")[2]
                ground.postgres.execute(f"ALTER DATABASE {name} SET TABLESPACE {space}")

                async def full(system: System) -> None:
                    filler = fill(disk)
                    await system.worker.unready("disk is full")
                    await asyncio.sleep(2)
                    filler.unlink()

                await run_fault(system, FaultCase("postgres disk full", full, during=120), seed)
        finally:
            ground.postgres.execute(f"DROP TABLESPACE {space}")
