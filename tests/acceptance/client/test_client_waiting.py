"""What a caller is told of workers that do not call, and how soon."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from harness.waiting import eventually
from resolution_client import Observer, Pending, Resolved, Resolver
from resolution_client.blocking import Resolver as BlockingResolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.installation import Installation

KNOWN_SECONDS = 3.0
TICK_SECONDS = 1.0
"""A busy machine's delay, and the second between two words of a worker."""


def token(word: str) -> str:
    """A token of the test's own."""
    return f"{word}-{uuid.uuid4().hex}"


@asynccontextmanager
async def waiting(resolver: Resolver) -> AsyncIterator[asyncio.Task[object]]:
    """A caller who waits for what does not come, in the block."""
    task: asyncio.Task[object] = asyncio.create_task(resolver.resolve(token("hang"), wait=40))
    await eventually(lambda: resolver._calls._waiting, "somebody waits")
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def told(task: asyncio.Task[object], since: float) -> Pending:
    """What who waits is told, and that it is soon enough."""
    answer = await task
    assert isinstance(answer, Pending)
    assert time.monotonic() - since < KNOWN_SECONDS + TICK_SECONDS
    return answer


async def calls(resolver: Resolver, what: str) -> None:
    """Wait until the client has heard that calls stand so."""
    await eventually(lambda: resolver.workers and resolver.workers.calls == what, f"it is {what}")


async def test_a_pause(stage: Installation) -> None:
    """A pause is known within three seconds, with the operator's reason; then nobody waits."""
    await stage.run(WORKER_AWS__TIMEOUT="10s")
    async with Resolver(stage.web) as resolver:
        assert isinstance(await resolver.resolve(settled := token("ok"), wait=30), Resolved)
        async with waiting(resolver) as task:
            done = await asyncio.to_thread(
                stage.command,
                *("pause", "--reason", "AWS's maintenance", "--actor", "me"),
                WORKER_POSTGRES__DSN=stage.schema.operator,
            )
            assert done.returncode == 0, done.stderr
            answer = await told(task, time.monotonic())
        assert (answer.reason, answer.detail) == ("paused", "AWS's maintenance")
        began = time.monotonic()
        again = await resolver.resolve(token("ok"), wait=30)
        assert isinstance(again, Pending)
        assert again.reason == "paused"
        assert isinstance(await resolver.resolve(settled, wait=30), Resolved)  # the ledger answers
        assert time.monotonic() - began < TICK_SECONDS
        await asyncio.to_thread(
            stage.command,
            *("resume", "--reason", "over", "--actor", "me"),
            WORKER_POSTGRES__DSN=stage.schema.operator,
        )
        await calls(resolver, "running")
        assert isinstance(await resolver.resolve(token("ok"), wait=30), Resolved)


async def test_calls_that_are_stopped(stage: Installation) -> None:
    """A fault of the seller's own is known within three seconds, and its end too."""
    await stage.run(WORKER_AWS__TIMEOUT="10s")
    async with Resolver(stage.web) as resolver:
        await calls(resolver, "running")
        async with waiting(resolver) as task:
            fault = {"code": "AccessDeniedException", "status": 400, "message": "no"}
            await stage.simulator.order("PUT", "fault", fault)
            began = time.monotonic()
            pending = await resolver.resolve(token("ok"), wait=40)
            assert isinstance(pending, Pending)
            assert pending.reason == "stopped"
            answer = await told(task, began)
        assert answer.reason == "stopped"
        assert answer.detail
        await stage.simulator.order("DELETE", "fault")
        await calls(resolver, "running")
        assert isinstance(await resolver.resolve(token("ok"), wait=30), Resolved)


class Hearing(Observer):
    """Keeps what it is told of the workers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def workers(self, calls: str) -> None:
        """As told."""
        self.said.append(calls)


async def test_silence_is_told(stage: Installation) -> None:
    """An observer hears that nobody works, though nobody asks at the time."""
    hearing = Hearing()
    worker = await stage.run()
    async with Resolver(stage.web, observer=hearing):
        await eventually(lambda: hearing.said, "a worker is heard")
        worker.kill()
        await eventually(lambda: hearing.said == ["running", "stopped"], "silence is told of")


async def test_dead_workers(stage: Installation) -> None:
    """Silence is known within three seconds; where another worker is alive nothing is amiss."""
    first = await stage.run(WORKER_AWS__TIMEOUT="10s")
    second = await stage.run(WORKER_AWS__TIMEOUT="10s")
    async with Resolver(stage.web) as resolver:
        await calls(resolver, "running")
        first.kill()
        assert isinstance(await resolver.resolve(token("ok"), wait=30), Resolved)
        async with waiting(resolver) as task:
            second.kill()
            answer = await told(task, time.monotonic())
        assert (answer.reason, answer.detail) == ("stopped", "no worker is running")
        began = time.monotonic()
        assert isinstance(await resolver.resolve(token("ok"), wait=30), Pending)
        assert time.monotonic() - began < TICK_SECONDS


async def test_a_worker_that_shuts_down(stage: Installation) -> None:
    """A worker that drains says so at once: nobody waits for three seconds of silence."""
    worker = await stage.run()
    async with Resolver(stage.web) as resolver:
        await calls(resolver, "running")
        async with waiting(resolver) as task:
            worker.send(signal.SIGTERM)
            answer = await told(task, time.monotonic())
        assert answer.reason == "stopped"


async def test_no_worker_yet(stage: Installation) -> None:
    """Before any worker was started one is told after three seconds, and the token is kept."""
    async with Resolver(stage.web) as resolver:
        began = time.monotonic()
        good = token("ok")
        answer = await told(asyncio.create_task(resolver.resolve(good, wait=40)), since=began)
        assert answer.reason == "stopped"
        await stage.run()
        await calls(resolver, "running")
        rows = "SELECT 1 FROM resolution.outcomes WHERE message_id = $1"

        async def settled() -> bool:
            return bool(await stage.schema.rows(rows, answer.message_id))

        await eventually(settled, "it is settled all the same")


def test_no_thread_is_held(stage: Installation) -> None:
    """While calls are stopped, threads get their page at once."""
    with BlockingResolver(stage.web) as resolver:
        resolver.resolve(token("ok"), wait=30)
        began = time.monotonic()
        for _ in range(20):
            assert isinstance(resolver.resolve(token("ok"), wait=30), Pending)
        assert time.monotonic() - began < KNOWN_SECONDS
