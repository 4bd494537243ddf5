"""What a caller hears of the calls through `resolution.state`, from the real command."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import aio_pika
import pytest

from harness import contract
from harness.servers import reply_key
from harness.waiting import eventually
from tests.acceptance.outcomes import tokens
from worker.adapters.rabbitmq.topology import STATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier

SOON_SECONDS = 3.0
REASON = "a migration until noon"
DENIED = {"code": "AccessDeniedException", "status": 400, "message": "User: arn:aws:iam::1:u"}


class Report(NamedTuple):
    """A message as it came: when, from which replica, and what it says."""

    at: float
    replica: str
    body: dict[str, Any]


class Caller:
    """A web tier that hears how calls stand."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    async def take(self, message: Any) -> None:
        """Note a report."""
        body = contract.state(message.body)
        self.reports.append(Report(time.monotonic(), message.app_id, body))

    @property
    def last(self) -> dict[str, Any]:
        """What the last report says; empty before any."""
        return self.reports[-1].body if self.reports else {}

    @property
    def by_replica(self) -> list[dict[str, Any]]:
        """What each replica has said last."""
        return list({report.replica: report.body for report in self.reports}.values())

    async def hears(self, calls: str, *words: str, seconds: float = SOON_SECONDS) -> dict[str, Any]:
        """The next report that says so, with these words in its reason."""
        begin = len(self.reports)

        def said() -> list[dict[str, Any]]:
            return [
                report.body
                for report in self.reports[begin:]
                if report.body["calls"] == calls
                and all(word in (report.body["reason"] or "") for word in words)
            ]

        return (await eventually(said, f"calls are {calls} {words}", seconds))[0]

    def replicas(self, seconds: float) -> set[str]:
        """Who has reported lately."""
        since = time.monotonic() - seconds
        return {report.replica for report in self.reports if report.at >= since}


@asynccontextmanager
async def listening(stage: Installation) -> AsyncIterator[Caller]:
    """A caller that hears everything from now on, with a caller's rights."""
    caller = Caller()
    async with await aio_pika.connect(stage.web, timeout=30) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(reply_key(stage.web, "states"), exclusive=True)
        await queue.bind(STATE)
        await queue.consume(caller.take, no_ack=True)
        yield caller


async def begun(stage: Installation, **settings: str) -> Worker:
    """A worker that has just begun."""
    worker = stage.start(**settings)
    await eventually(lambda: worker.logged("starting"), "it begins")
    return worker


class Lateness:
    """How late this very machine is, at most: 0 while it has time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def watch(self) -> None:
        """Wake up ten times a second until cancelled."""
        while True:
            due = time.monotonic() + 0.1
            await asyncio.sleep(0.1)
            self.seconds = max(self.seconds, time.monotonic() - due)


async def test_callers_hear_how_calls_stand(stage: Installation, web: WebTier) -> None:
    """That calls run, are paused, are stopped, and that nobody works is heard within seconds."""
    machine = Lateness()
    async with listening(stage) as caller, asyncio.TaskGroup() as group:
        watching = group.create_task(machine.watch())
        worker = await begun(stage)
        await eventually(lambda: caller.reports, "the first report", SOON_SECONDS)
        running = await caller.hears("running", seconds=30)
        assert list(running) == [
            "version", "calls", "reason", "rate", "waiting", "oldest_seconds"
        ]  # fmt: skip
        assert (running["version"], running["reason"]) == (1, None)
        assert (running["waiting"], running["oldest_seconds"]) == (0, 0.0)
        assert running["rate"] > 0

        assert stage.command("pause", "--reason", REASON).returncode == 0
        paused = await caller.hears("paused", REASON)
        assert paused["reason"] == REASON
        ids = [await web.submit(token) for token in tokens("ok", 5)]
        await eventually(lambda: caller.last["waiting"] >= 5, "five are seen to wait")
        await eventually(lambda: caller.last["oldest_seconds"] >= 1, "their age is told")
        assert stage.command("resume", "--reason", "done").returncode == 0
        await caller.hears("running")
        for one in ids:
            await web.event(one)

        await stage.simulator.order("PUT", "fault", DENIED)
        refused = await web.submit(*tokens("ok", 1))
        stopped = await caller.hears("stopped", "AccessDeniedException")
        assert "arn" not in stopped["reason"]
        await stage.simulator.order("DELETE", "fault")
        await web.event(refused)
        await caller.hears("running")

        gaps = [later.at - one.at for one, later in pairwise(caller.reports)]
        watching.cancel()
        assert max(gaps) < SOON_SECONDS + machine.seconds, (
            "a report was so late that nobody seemed to work"
        )
        worker.kill()
        heard = len(caller.reports)
        await asyncio.sleep(SOON_SECONDS)
        assert len(caller.reports) <= heard + 1  # one may have been on its way
        assert {report.replica for report in caller.reports} == {caller.reports[0].replica}


async def test_a_pause_with_an_end_is_over_without_an_operator(
    stage: Installation, web: WebTier
) -> None:
    """Two replicas say until when they are paused, stay ready, and call again at that time."""
    async with listening(stage) as caller:
        workers = [await stage.run(), await stage.run()]
        assert stage.command("pause", "--reason", REASON, "--for", "6s").returncode == 0
        paused = await caller.hears("paused", ", until 20")
        until = datetime.strptime(
            paused["reason"].removeprefix(f"{REASON}, until "), "%Y-%m-%d %H:%M:%S UTC"
        ).replace(tzinfo=UTC)
        for worker in workers:
            await eventually(partial(worker.logged, "calls_paused"), "both have heard")
            status, text = await worker.get("/readyz")
            assert status == 200
            assert REASON in json.loads(text)["notes"]["pause"]
        message_id = await web.submit(*tokens("ok", 1))

        assert (await web.event(message_id)).status == "resolved"
        for worker in workers:
            await eventually(partial(worker.logged, "calls_unpaused"), "both go on")
            (over,) = worker.logged("calls_unpaused")
            late = datetime.fromisoformat(over["timestamp"]) - until
            assert timedelta(0) <= late < timedelta(seconds=3.5)  # `until` has no fractions
            assert "pause" not in json.loads((await worker.get("/readyz"))[1]).get("notes", {})
    assert "paused        no\n" in stage.command("status").stdout


async def test_a_replica_that_drains_says_so_and_is_silent(
    stage: Installation, web: WebTier
) -> None:
    """Each replica has a name of its own; one that ends says stopped once, the others go on."""
    async with listening(stage) as caller:
        first, _ = await stage.run(), await stage.run()
        await eventually(lambda: len(caller.replicas(2)) == 2, "both are heard")
        begin = len(caller.reports)
        first.send(signal.SIGTERM)
        assert await first.exit_code() == 0
        await eventually(lambda: len(caller.replicas(2)) == 1, "one is heard no more")
        (left,) = caller.replicas(2)
        gone = [report.body for report in caller.reports[begin:] if report.replica != left]
        assert [body["calls"] for body in gone if body["calls"] != "running"] == ["stopped"]
        assert gone[-1]["calls"] == "stopped"
        assert "shutting down" in gone[-1]["reason"]
        assert (await web.settled(*tokens("ok", 1))).status == "resolved"
        await caller.hears("running")


async def test_replicas_count_what_others_have_in_hand(stage: Installation, web: WebTier) -> None:
    """Whichever replica has taken the tokens, each tells how many wait, and how long."""
    async with listening(stage) as caller:
        await asyncio.gather(stage.run(), stage.run())
        assert stage.command("pause", "--reason", REASON).returncode == 0
        await eventually(
            lambda: [each["calls"] for each in caller.by_replica] == ["paused"] * 2, "both pause"
        )
        for token in tokens("ok", 9):
            await web.submit(token)
        await eventually(
            lambda: [each["waiting"] for each in caller.by_replica] == [9, 9], "both tell of nine"
        )
        await eventually(
            lambda: all(each["oldest_seconds"] >= 1 for each in caller.by_replica), "and their age"
        )


@pytest.mark.long
async def test_who_is_not_ready_says_so(stage: Installation) -> None:
    """A worker without its database is heard too, and says why it makes no calls."""
    async with listening(stage) as caller:
        worker = await begun(stage, WORKER_POSTGRES__DSN="postgresql://nobody@127.0.0.1:1/none")
        await caller.hears("stopped", "database", seconds=15)
        assert (await worker.get("/readyz"))[0] == 503


async def test_an_installation_without_the_exchange_still_works(
    stage: Installation, web: WebTier
) -> None:
    """Where the exchange is not declared yet tokens are settled, and log and probe tell of it."""
    stage.broker.management.call("DELETE", "exchanges", stage.broker.vhost, STATE)
    worker = await stage.run()
    assert (await web.settled(*tokens("ok", 1))).status == "resolved"
    await eventually(lambda: worker.logged("state_not_sent"), "the log tells of it")

    async def is_noted() -> bool:
        status, text = await worker.get("/readyz")
        assert status == 200
        return "topology declare" in json.loads(text).get("notes", {}).get("state", "")

    await eventually(is_noted, "/readyz tells of it")
    assert stage.command(
        "topology", "declare", WORKER_AMQP__ADMIN_URL=stage.broker.url
    ).returncode == 0  # fmt: skip
    async with listening(stage) as caller:
        await caller.hears("running", seconds=30)
