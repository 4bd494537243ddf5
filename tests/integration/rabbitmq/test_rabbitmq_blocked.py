"""A broker under alarm, or one that refuses or hangs: nothing is sent twice, readiness says why."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest
import pytest_asyncio

from harness.waiting import eventually
from worker.adapters.rabbitmq import publisher as publishing
from worker.adapters.rabbitmq.connection import connected
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.publishing import PublishingLink
from worker.adapters.rabbitmq.state_channel import StateChannel
from worker.adapters.rabbitmq.topology import STATE
from worker.core.exceptions import BrokerLost, Refused, Unanswered, Unroutable
from worker.core.token.outgoing import ANSWERS, Outgoing
from worker.lab.servers import rabbitmq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from worker.lab.servers import RabbitMQ
    from worker.ports import PublishFailure

pytestmark = pytest.mark.asyncio(loop_scope="module")

WATERMARK = "set_vm_memory_high_watermark"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RabbitMQ]:
    """A broker that may be starved."""
    async with rabbitmq(tmp_path_factory.mktemp("rabbitmq") / "node") as running:
        yield running


class Link:
    """A publishing link at work, and what it says of itself."""

    def __init__(self, url: str) -> None:
        self.said: list[str | None] = ["not up yet"]
        self.link = PublishingLink(lambda: url, self.said.append)

    @property
    def fault(self) -> str | None:
        """What readiness says now."""
        return self.said[-1]

    async def send(self, queue: str, count: int = 1) -> Sequence[PublishFailure | None]:
        """Publish so many messages to a queue."""
        batch = [
            Outgoing("", queue, b"{}", f"{queue}-{number}", mandatory=True)
            for number in range(count)
        ]
        return await self.all(batch)

    async def all(self, batch: Sequence[Outgoing]) -> Sequence[PublishFailure | None]:
        """Publish these, and wait for what becomes of each."""
        results = await self.link.send(batch)
        return [await fate if isinstance(fate, asyncio.Future) else fate for fate in results]

    async def until(self, true: Callable[[], bool], seconds: float = 30) -> None:
        """Wait for something that must come."""
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 - the broker speaks by itself
                await asyncio.sleep(0.05)


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    """A link that runs and is up."""
    link = Link(url)
    running = asyncio.create_task(link.link.run())
    try:
        await link.until(lambda: link.fault is None)
        yield link
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])


@asynccontextmanager
async def queue(own: RabbitMQ, name: str, **arguments: str | int) -> AsyncIterator[None]:
    """A queue."""
    async with connected(own.amqp_url, name="preparing") as connection:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True, arguments=dict(arguments))
        yield
        await channel.queue_delete(name)


@asynccontextmanager
async def answering(own: RabbitMQ) -> AsyncIterator[None]:
    """The exchange for replies."""
    async with connected(own.amqp_url, name="preparing") as connection:
        channel = await connection.channel()
        await channel.declare_exchange(ANSWERS, "topic", durable=True)
        yield
        await channel.exchange_delete(ANSWERS)


async def bind(own: RabbitMQ, *names: str) -> None:
    """Let queues have the replies under their own names."""
    async with connected(own.amqp_url, name="preparing") as connection:
        channel = await connection.channel()
        for name in names:
            await (await channel.get_queue(name)).bind(ANSWERS, name)


async def depth(own: RabbitMQ, name: str) -> int:
    """How many messages a queue holds."""
    async with connected(own.amqp_url, name="looking") as connection:
        channel = await connection.channel()
        found = await channel.declare_queue(name, passive=True)
        return found.declaration_result.message_count or 0


def alarmed(own: RabbitMQ) -> bool:
    """Whether the broker's alarm is in force."""
    try:
        own.management.call("GET", "health", "checks", "alarms")
    except HTTPError:
        return True
    return False


@asynccontextmanager
async def alarm(own: RabbitMQ) -> AsyncIterator[None]:
    """The broker takes itself to be short of memory while the block lasts."""
    await own.ctl(WATERMARK, "absolute", "1024")
    try:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(alarmed, own):  # noqa: ASYNC110 - the broker is asked
                await asyncio.sleep(0.05)
        yield
    finally:
        await own.ctl(WATERMARK, "absolute", "1GB")


async def test_an_alarm_is_told_and_waited_through(
    own: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under alarm the link says so, sends nothing twice, and is up again when it is over."""
    monkeypatch.setattr(publishing, "PUBLISH_SECONDS", 1.0)
    monkeypatch.setattr(Publisher.publish_all, "__defaults__", (1.0,))
    async with queue(own, "waited"), linked(own.amqp_url) as link:
        async with alarm(own):
            sending = [asyncio.create_task(link.send("waited", 3)) for _ in range(2)]
            await link.until(lambda: link.fault is not None)
            assert "under alarm (low on memory)" in (link.fault or "")
            assert "rabbitmq-diagnostics alarms" in (link.fault or "")
            await asyncio.sleep(4)
            late = asyncio.create_task(link.send("waited", 1))
            await asyncio.sleep(2)
            assert not any(task.done() for task in [*sending, late])
            assert "under alarm" in (link.fault or "")
        async with asyncio.timeout(20):
            answers = [one for task in [*sending, late] for one in await task]
        assert answers == [None] * 7
        assert await depth(own, "waited") == 7
        assert link.fault is None


async def test_an_alarm_lets_no_report_wait(own: RabbitMQ) -> None:
    """How calls stand is not told under an alarm, when it would only be old news after it."""
    async with (
        queue(own, "heard"),
        queue(own, "waited"),
        linked(own.amqp_url) as link,
        connected(own.amqp_url, name="hearing") as connection,
    ):
        channel = await connection.channel()
        state = await channel.declare_exchange(STATE, "fanout", durable=True)
        await (await channel.get_queue("heard")).bind(state)
        reports = StateChannel(link.link, "replica")
        async with alarm(own):
            sending = asyncio.create_task(link.send("waited"))
            await link.until(lambda: link.fault is not None)
            for _ in range(3):
                await reports.send(b"{}")
        assert await sending == [None]
        await link.until(lambda: link.fault is None)
        assert await depth(own, "heard") == 0
        await reports.send(b"{}")
        heard = await channel.get_queue("heard")
        await eventually(lambda: heard.get(fail=False), "it is told again")
        await state.delete()


@pytest.mark.long
async def test_a_publisher_that_was_not_asked_to_wait_names_the_alarm(own: RabbitMQ) -> None:
    """A command that publishes does not hang under an alarm: it fails in time and says why."""
    async with queue(own, "named"), connected(own.amqp_url, name="test") as connection:
        publisher = await Publisher.open(connection)
        async with alarm(own):
            (fault,) = await publisher.publish_all([Outgoing("", "named", b"{}", "m")], 2.0)
        assert isinstance(fault, BrokerLost)
        assert "under alarm (low on memory)" in str(fault)


@pytest.mark.long
async def test_a_connection_lost_under_alarm_ends_the_wait(own: RabbitMQ) -> None:
    """The wait for the end of an alarm ends with the connection."""
    async with queue(own, "lost"), linked(own.amqp_url) as link:
        async with alarm(own):
            sending = asyncio.create_task(link.send("lost"))
            await link.until(lambda: link.fault is not None)
            publisher = link.link._publisher
            assert publisher is not None
            publisher._wire.connection._reader_task.cancel()
            async with asyncio.timeout(20):
                (fault,) = await sending
            assert isinstance(fault, BrokerLost)
        await link.until(lambda: link.fault is None)


async def test_a_broker_that_refuses_leaves_the_link_down(own: RabbitMQ) -> None:
    """While publishes are refused the link is down without a break, until one is confirmed."""
    limits: dict[str, str | int] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    async with queue(own, "full", **limits), queue(own, "fine"), linked(own.amqp_url) as link:
        assert await link.send("full") == [None]
        for _ in range(3):
            assert [type(one) for one in await link.send("full")] == [Refused]
            assert "refused" in (link.fault or "")
            assert await link.send("fine") == [None]
            assert "refused" in (link.fault or "")
        async with connected(own.amqp_url, name="emptying") as connection:
            await (await (await connection.channel()).get_queue("full")).purge()
        assert await link.send("full") == [None]
        assert link.fault is None


@asynccontextmanager
async def hanging(own: RabbitMQ, name: str) -> AsyncIterator[None]:
    """A queue's process does nothing while the block lasts."""
    find = f'{{ok, Q}} = rabbit_amqqueue:lookup({{resource, <<"/">>, queue, <<"{name}">>}})'
    await own.ctl("eval", f"{find}, sys:suspend(amqqueue:get_pid(Q)).")
    try:
        yield
    finally:
        await own.ctl("eval", f"{find}, sys:resume(amqqueue:get_pid(Q)).")


def answer(key: str, number: int = 0) -> Outgoing:
    """A reply to somebody whose queue bears the name of the key."""
    return Outgoing(ANSWERS, key, b"{}", f"{key}-{number}")


async def test_refused_answers_leave_the_link_up(own: RabbitMQ) -> None:
    """A reply that a full queue refuses, or for which none is bound, is no reason to be unready."""
    limits: dict[str, str | int] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    async with answering(own), queue(own, "full", **limits), linked(own.amqp_url) as link:
        await bind(own, "full")
        assert await link.all([answer("full")]) == [None]
        (fault,) = await link.all([answer("full", 1)])
        assert isinstance(fault, Refused)
        assert link.fault is None
        (fault,) = await link.all([Outgoing(ANSWERS, "nowhere", b"{}", "m", mandatory=True)])
        assert isinstance(fault, Unroutable)
        assert link.fault is None


async def test_a_hanging_queue_holds_up_nobody_else(own: RabbitMQ) -> None:
    """Replies to a queue that hangs are given up after some seconds; others take a moment each."""
    loop = asyncio.get_running_loop()
    async with (
        answering(own),
        queue(own, "hangs"),
        queue(own, "fine"),
        linked(own.amqp_url) as link,
    ):
        await bind(own, "hangs", "fine")
        publisher = link.link._publisher
        async with hanging(own, "hangs"):
            began = loop.time()
            results = await link.link.send([answer("hangs", n) for n in range(20)])
            assert loop.time() - began < 1
            late = [fate for fate in results if isinstance(fate, asyncio.Future)]
            assert len(late) == 20
            slowest = 0.0
            while not all(fate.done() for fate in late):
                began_one = loop.time()
                assert await link.link.send([answer("fine")]) == [None]
                slowest = max(slowest, loop.time() - began_one)
                assert loop.time() - began < 8
                await asyncio.sleep(0.1)
            assert {type(fate.result()) for fate in late} == {Unanswered}
            assert 3 <= loop.time() - began < 5
            assert slowest < 1
            assert (publisher and len(publisher._window), link.fault) == (0, None)
        assert await link.all([answer("hangs")]) == [None]
        assert link.link._publisher is publisher


@pytest.mark.long
async def test_a_hanging_queue_of_ours_is_told(own: RabbitMQ) -> None:
    """A move to a queue that hangs is given up after some seconds, and the link says so."""
    async with answering(own), queue(own, "ours"), queue(own, "fine"), linked(own.amqp_url) as link:
        await bind(own, "fine")
        async with hanging(own, "ours"):
            (fate,) = await link.link.send([Outgoing("", "ours", b"{}", "m", mandatory=True)])
            assert isinstance(fate, asyncio.Future)
            while not fate.done():
                assert await link.all([answer("fine")]) == [None]
                await asyncio.sleep(0.1)
            assert isinstance(fate.result(), Unanswered)
            assert "neither takes nor refuses" in (link.fault or "")
            # Another try does not wait for the first, of which nothing will be heard.
            (again,) = await link.link.send([Outgoing("", "ours", b"{}", "m", mandatory=True)])
            assert isinstance(again, asyncio.Future)
        assert await again is None
        assert link.fault is None


@pytest.mark.long
async def test_a_closed_channel_leaves_the_link_down_on_the_next(own: RabbitMQ) -> None:
    """A new connection after a failed publish is no proof; a confirmed one is, or idleness."""
    async with queue(own, "fine"), linked(own.amqp_url) as link:
        absent = Outgoing("absent", "k", b"{}", "m", mandatory=True)
        for _ in range(2):
            (fault,) = await link.link.send([absent])
            assert isinstance(fault, BrokerLost)
            since = len(link.said)
            await link.until(lambda: link.link._publisher is not None)
            await asyncio.sleep(0.5)
            assert None not in link.said[since:]
            assert "absent" in (link.fault or "")
        await link.until(lambda: link.fault is None, 12)  # nobody tries that any more
