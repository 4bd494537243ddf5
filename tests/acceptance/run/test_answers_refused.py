"""Somebody's full queue: what it refuses harms nobody else, and no event is lost over it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from harness import contract
from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from tests.acceptance.outcomes import tokens
from worker.core.token.answers import MOST_EVENTS
from worker.core.token.outgoing import ANSWERS, EVENTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.installation import Installation
    from harness.programs import Worker
    from harness.web_tier import WebTier

pytestmark = pytest.mark.timeout(120)

KEY = "resolution.reply.somebody"
TRIES = 12


class Somebody:
    """Whoever has a queue that holds few messages and refuses the rest.

    Attributes:
        heard: How often each message came, once it is consumed.
    """

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.heard: Counter[str] = Counter()

    async def consume(self, pause: float = 0.0) -> None:
        """Take what comes, with a pause after each."""

        async def take(message: Any) -> None:
            await asyncio.sleep(pause)
            self.heard[contract.outcome(message.body)["message_id"]] += 1
            await message.ack()

        await self.queue.consume(take)


@asynccontextmanager
async def somebody(
    stage: Installation, exchange: str, key: str, room: int
) -> AsyncIterator[Somebody]:
    """A queue with so much room, bound under a key."""
    async with await aio_pika.connect(stage.broker.url, timeout=30) as connection:
        channel = await connection.channel()
        await channel.set_qos(1)
        limits: Any = {"x-max-length": room, "x-overflow": "reject-publish"}
        queue = await channel.declare_queue("somebody", durable=True, arguments=limits)
        await queue.bind(exchange, key)
        yield Somebody(queue)


async def acked(worker: Worker, count: int, seconds: float = 30) -> None:
    """Wait until so many submissions are answered and their deliveries acked."""

    async def all_of_them() -> bool:
        found = (await worker.metrics())["resolution_outcomes_total"]
        return sum(found.values()) == count

    await eventually(all_of_them, f"{count} deliveries are acked", seconds)


async def waiting(stage: Installation) -> int:
    """How many events wait in the outbox."""
    (row,) = await stage.schema.rows("SELECT count(*) AS events FROM resolution.event_outbox")
    return int(row["events"])


async def emptied(stage: Installation, seconds: float = 45) -> None:
    """Wait until no event waits in the outbox."""

    async def is_empty() -> bool:
        return not await waiting(stage)

    await eventually(is_empty, "the outbox is empty", seconds)


async def stays_ready(worker: Worker) -> None:
    """Fail as soon as the worker says that it could not work."""
    while True:
        status, text = await worker.get("/readyz")
        assert status == 200, text
        await asyncio.sleep(0.2)


@asynccontextmanager
async def ready_throughout(worker: Worker) -> AsyncIterator[None]:
    """The worker is ready at each look while the block lasts."""
    looking = asyncio.create_task(stays_ready(worker))
    try:
        yield
        assert not looking.done(), looking.exception()
    finally:
        looking.cancel()
        await asyncio.wait([looking])


async def test_a_full_reply_queue_delays_nobody_else(stage: Installation, web: WebTier) -> None:
    """Its replies are tried for five seconds and dropped; others are answered as ever, once."""
    worker = await stage.run()
    waits: list[float] = []

    async def buyer(token: str) -> None:
        began = time.monotonic()
        message_id = await web.submit(token, reply_to=web.reply_to)
        await web.reply(message_id)
        waits.append(time.monotonic() - began)

    async with somebody(stage, ANSWERS, KEY, room=1) as other, ready_throughout(worker):
        await web.settled(*tokens("ok", 1), reply_to=KEY)
        ids = [await web.submit(token, reply_to=KEY) for token in tokens("ok", 400)]
        async with asyncio.TaskGroup() as group:
            for token in tokens("ok", 60):
                group.create_task(buyer(token))
                await asyncio.sleep(0.05)
        for message_id in ids:
            await web.event(message_id)
        await acked(worker, 461, seconds=10)
        assert max(waits) < 20  # on a busy machine; before, none was answered any more
        assert await worker.metric("resolution_answers_dropped_total", kind="reply") == 400
        assert {len(each) for each in web.replies.values() if each} == {1}
        assert {len(each) for each in web.events.values()} == {1}
        await other.consume()
        await eventually(lambda: other.heard, "the first reply is there")
        reply_id = await web.submit(*tokens("ok", 1), reply_to=KEY)
        await eventually(lambda: other.heard[reply_id], "replies are taken again")

    assert await waiting(stage) == 0
    (told,) = worker.logged("answers_refused")
    assert (told["exchange"], told["routing_key"]) == (ANSWERS, KEY)
    assert len(worker.log) < 30


@pytest.mark.long
async def test_a_reply_queue_that_has_room_within_five_seconds_gets_all(
    stage: Installation, web: WebTier
) -> None:
    """What was refused for two seconds arrives, each reply once."""
    worker = await stage.run()
    async with somebody(stage, ANSWERS, KEY, room=1) as other:
        first = await web.submit(*tokens("ok", 1), reply_to=KEY)
        await web.event(first)
        ids = [await web.submit(token, reply_to=KEY) for token in tokens("ok", 10)]
        for message_id in ids:
            await web.event(message_id)
        await eventually(lambda: worker.logged("answers_refused"), "refusals are told", 4)
        await other.consume()
        await eventually(lambda: len(other.heard) == 11, "all replies are there", 6)
        await acked(worker, 11)
    assert set(other.heard.values()) == {1}
    assert await worker.metric("resolution_answers_dropped_total", kind="reply") == 0


async def test_a_full_event_queue_loses_nothing_and_stops_nothing(
    stage: Installation, web: WebTier
) -> None:
    """Calls, replies and other observers go on; it gets each event once it has room."""
    worker = await stage.run(WORKER_POOL__CONCURRENCY="4")
    async with somebody(stage, EVENTS, "#", room=5) as observer:
        async with ready_throughout(worker):
            ids = []
            for token in tokens("ok", 150):
                ids.append(await web.submit(token, reply_to=web.reply_to))
                await asyncio.sleep(0.03)
            for message_id in ids:
                await web.reply(message_id)
            await acked(worker, 150, seconds=10)
            await eventually(
                lambda: worker.metric("resolution_outbox_events"), "the gauge tells of it", 10
            )
            (told,) = worker.logged("answers_refused")
            assert (told["exchange"], told["routing_key"]) == (EVENTS, "token.resolved")
            assert await waiting(stage) >= 140
            rejected = await web.submit(*tokens("invalid", 1))
            await acked(worker, 151)
            await observer.consume()
            await emptied(stage)
            await eventually(lambda: len(observer.heard) == 151, "its observer has them all")
        # Once it is empty events are published as ever.
        late = await web.submit(*tokens("ok", 1))
        await eventually(lambda: observer.heard[late], "a later event is there")
        assert {rejected, late, *ids} == set(observer.heard)
        assert set(observer.heard.values()) == {1}
    for message_id in (*ids, rejected, late):
        await web.event(message_id)
    assert {len(each) for each in web.replies.values()} == {1}
    copies = sum(len(each) for each in web.events.values())
    # One for each try of the oldest while the queue is full, and what two batches had too much: the
    # one that shows how much room there is, and one after it.
    assert copies < 152 + TRIES + 2 * MOST_EVENTS
    assert max(len(each) for each in web.events.values()) < TRIES
    assert await worker.metric("resolution_answers_dropped_total", kind="event") == 0
    assert len(worker.log) < 40


@pytest.mark.long
async def test_a_sender_that_is_killed_is_followed_by_another(
    stage: Installation, web: WebTier
) -> None:
    """When the replica that sends is killed half way another goes on, and no event is missing."""
    worker = await stage.run()
    async with somebody(stage, EVENTS, "#", room=5) as observer:
        ids = [await web.submit(token) for token in tokens("ok", 300)]
        await acked(worker, 300)
        stored = await waiting(stage)
        other = await stage.run()
        await observer.consume(pause=0.005)

        async def half_way() -> bool:
            return await waiting(stage) < 0.8 * stored

        await eventually(half_way, "some have been sent", 40)
        worker.send(signal.SIGKILL)
        left = await waiting(stage)
        assert left
        await emptied(stage, 60)
        await eventually(lambda: set(ids) == set(observer.heard), "its observer has them all")
        assert max(observer.heard.values()) <= 2
        await other.ready()
    for message_id in ids:
        await web.event(message_id)


@pytest.mark.long
async def test_a_database_that_is_away_loses_no_event(stage: Installation, web: WebTier) -> None:
    """Events that are refused while the database is away wait in hand, and are told in the end."""
    async with proxy_to(stage.schema.worker, shut=True) as database:
        await database.open()
        worker = await stage.run(WORKER_POSTGRES__DSN=database.url)
        async with somebody(stage, EVENTS, "#", room=5) as observer:
            ids = [await web.submit(token) for token in tokens("slow-300", 100)]
            await eventually(lambda: waiting(stage), "the first is refused")
            await database.shut()
            ids += [await web.submit(token) for token in tokens("slow-300", 100)]
            await worker.unready("ledger")
            await database.open()
            await acked(worker, 200)
            await observer.consume()
            await emptied(stage)
            await eventually(lambda: set(ids) == set(observer.heard), "its observer has them all")
        worker.kill()
