"""Broker and database that go away in the middle, and come back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from tests.acceptance.outcomes import tokens

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.web_tier import WebTier


async def all_settled(stage: Installation, web: WebTier, ids: list[str]) -> list[int]:
    """Wait until all are resolved and nothing is left anywhere; the attempts of each."""
    for message_id in ids:
        assert (await web.event(message_id)).status == "resolved"

    async def is_empty() -> bool:
        return not any((await web.depths()).values())

    await eventually(is_empty, "the queues are empty")
    rows = await stage.schema.rows("SELECT status, attempts FROM resolution.outcomes")
    assert [row["status"] for row in rows] == ["resolved"] * len(ids)
    assert await stage.schema.rows("SELECT FROM resolution.dead_letter") == []
    return [row["attempts"] for row in rows]


def drop_worker(stage: Installation) -> int:
    """Close the worker's connections from the broker's side; returns how many there were."""
    call = stage.broker.management.call
    found = call("GET", "connections", "username", urlsplit(stage.worker_url).username or "")
    for one in found:
        with suppress(HTTPError):  # it closed by itself meanwhile
            call("DELETE", "connections", one["name"])
    return len(found)


@pytest.mark.long
async def test_connections_that_the_broker_closes(stage: Installation, web: WebTier) -> None:
    """However often an operator closes the worker's connections, every token settles."""
    worker = await stage.run(WORKER_RATE__CEILING="100")
    ids = [await web.submit(token) for token in tokens("slow-50", 120)]

    for _ in range(3):
        await eventually(lambda: asyncio.to_thread(drop_worker, stage), "a connection to close")
    await all_settled(stage, web, ids)
    await worker.ready()

    assert "Traceback" not in worker.said


async def test_a_broker_lost_with_calls_in_flight(stage: Installation, web: WebTier) -> None:
    """Calls whose deliveries are lost end in peace; the broker hands out anew what they were for.

    Some calls outlive the loss, some fail after it, some tokens come back while they are called.
    """
    async with proxy_to(stage.worker_url, shut=True) as broker:
        await broker.open()
        worker = await stage.run(WORKER_AMQP__URL=broker.url)
        ids = [await web.submit(token) for token in tokens("slow-900", 20)]
        ids += [await web.submit(token) for token in tokens("fail-1", 20)]
        ids += [await web.submit(token) for token in tokens("throttle-2", 20)]
        for _ in range(3):

            async def in_flight() -> bool:
                return await worker.metric("resolution_in_flight") > 0

            await eventually(in_flight, "calls are in flight", 5)
            assert await eventually(broker.reset, "connections to cut")
        await all_settled(stage, web, ids)

        assert worker.process.poll() is None
        assert "Traceback" not in worker.said
        worker.kill()


@pytest.mark.long
async def test_a_broker_away_for_a_while(stage: Installation, web: WebTier) -> None:
    """While the broker is away the worker lives and is unready; then it goes on by itself."""
    async with proxy_to(stage.worker_url, shut=True) as broker:
        await broker.open()
        worker = await stage.run(WORKER_AMQP__URL=broker.url)
        ids = [await web.submit(token) for token in tokens("slow-700", 40)]
        await eventually(stage.simulator.calls, "calls")

        await broker.shut()
        said = await worker.unready("consuming", "publishing")
        assert (await worker.get("/healthz"))[0] == 200
        await broker.open()
        await all_settled(stage, web, ids)
        await worker.ready()

        assert "guest" not in said
        assert stage.worker_url.split(":")[2].partition("@")[0] not in worker.said + said
        worker.kill()


async def terminate(stage: Installation) -> int:
    """End the worker's sessions from the database's side; returns how many there were."""
    rows = await stage.schema.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'resolution_worker' AND datname = current_database()"
    )
    return len(rows)


@pytest.mark.long
async def test_sessions_that_the_database_ends(stage: Installation, web: WebTier) -> None:
    """However often its sessions are ended, answers in hand are written: no call is made twice."""
    worker = await stage.run(WORKER_RATE__CEILING="100")
    ids = [await web.submit(token) for token in tokens("slow-100", 200)]

    for _ in range(8):
        await eventually(lambda: terminate(stage), "a session to end")
    attempts = await all_settled(stage, web, ids)

    assert attempts == [1] * len(ids)
    assert await stage.simulator.calls() == len(ids)
    assert "Traceback" not in worker.said
    await worker.ready()


async def test_a_database_away_for_a_while(stage: Installation, web: WebTier) -> None:
    """Without a database calls stop, what is in hand is kept, and nothing is parked or given up."""
    async with proxy_to(stage.schema.worker, shut=True) as database:
        await database.open()
        worker = await stage.run(WORKER_POSTGRES__DSN=database.url, WORKER_POOL__CONCURRENCY="10")
        ids = [await web.submit(token) for token in tokens("slow-300", 60)]
        await eventually(stage.simulator.calls, "calls")

        await database.shut()
        before = await stage.simulator.calls()
        await worker.unready("ledger", "no server listens there", seconds=60)
        calls = await stage.simulator.calls()
        assert calls <= before + 20  # what begins while the first commit fails
        assert (await worker.get("/healthz"))[0] == 200
        assert await stage.simulator.calls() == calls
        await database.open()
        attempts = await all_settled(stage, web, ids)

        assert attempts == [1] * len(ids)
        assert await stage.simulator.calls() == len(ids)
        worker.kill()


@pytest.mark.long
async def test_a_database_that_only_reads(stage: Installation, web: WebTier) -> None:
    """A read-only database is the operator's affair: nothing is settled, given up or lost by it."""

    async def read_only(on: str) -> None:
        name = stage.schema.superuser.rpartition("/")[2]
        await stage.schema.execute(
            f"ALTER DATABASE {name} SET default_transaction_read_only = {on}"
        )
        await terminate(stage)

    worker = await stage.run()
    await read_only("on")
    ids = [await web.submit(token) for token in tokens("ok", 30) + tokens("same-1-x", 5)]
    await worker.unready("ledger", "read-only")
    assert not web.events
    assert await stage.simulator.calls() <= len(ids)

    name = stage.schema.superuser.rpartition("/")[2]
    await stage.schema.execute(
        f"BEGIN; SET TRANSACTION READ WRITE;"
        f"ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT"
    )
    await terminate(stage)
    attempts = await all_settled(stage, web, ids)

    assert attempts == [1] * len(ids)
    await worker.ready()
