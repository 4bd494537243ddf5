"""Publishing with confirms on a real broker: what is said to be published is there."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from harness.connections import drop_connections
from harness.tcp_proxy import Proxy, proxy_to
from worker.adapters.rabbitmq.connection import ChannelRefused, connected, open_connection
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core.exceptions import BrokerLost, Refused, Unroutable, Unsendable
from worker.core.token.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

    from harness.servers import Broker

SECRET = b"s3cret-registration-token"


def outgoing(**given: Any) -> Outgoing:
    """A mandatory message to the queue of these tests."""
    fields: dict[str, Any] = {
        "exchange": "letters",
        "routing_key": "box",
        "body": SECRET,
        "message_id": uuid.uuid4().hex,
        "mandatory": True,
    }
    return Outgoing(**(fields | given))


class Post:
    """A publisher with a queue to publish to."""

    def __init__(self, connection: AbstractConnection, publisher: Publisher, url: str) -> None:
        self.connection = connection
        self.publisher = publisher
        self.url = url

    async def received(self) -> list[AbstractIncomingMessage]:
        """All that is in the queue, by a connection that nothing else disturbs."""
        found = []
        async with connected(self.url, name="reader") as connection:
            channel = await connection.channel()
            queue = await channel.get_queue("box")
            while message := await queue.get(no_ack=True, fail=False):
                found.append(message)
        return found


async def prepare(channel: AbstractChannel, arguments: dict[str, Any] | None = None) -> None:
    """An exchange and a queue bound to it."""
    exchange = await channel.declare_exchange("letters", "direct", durable=True)
    arguments = {"x-queue-type": "quorum"} if arguments is None else arguments
    queue = await channel.declare_queue("box", durable=True, arguments=arguments)
    await queue.bind(exchange, "box")


@pytest.fixture
async def post(broker: Broker) -> AsyncIterator[Post]:
    """A publisher on a connection of its own."""
    async with connected(broker.url, name="test") as connection:
        await prepare(await connection.channel())
        yield Post(connection, await Publisher.open(connection), broker.url)


@asynccontextmanager
async def post_through_proxy(
    broker: Broker, *, in_flight: int = 512
) -> AsyncIterator[tuple[Post, Proxy]]:
    """A publisher behind a network that can fail."""
    async with connected(broker.url, name="preparing") as connection:
        await prepare(await connection.channel())
    async with proxy_to(broker.url) as proxy:
        connection = await open_connection(proxy.url, name="test")
        publisher = await Publisher.open(connection, in_flight=in_flight)
        yield Post(connection, publisher, broker.url), proxy
        await proxy.reset()
        await connection.close()


async def test_what_is_confirmed_is_there_with_all_its_properties(post: Post) -> None:
    """A confirmed message is in the queue, persistent and complete."""
    moment = datetime(2026, 11, 22, 3, 28, tzinfo=UTC)
    message = outgoing(
        correlation_id="c", reply_to="resolution.reply.x", timestamp=moment, headers={"x-n": 2}
    )
    await post.publisher.publish(message)
    (found,) = await post.received()
    assert found.body == SECRET
    assert (found.message_id, found.correlation_id) == (message.message_id, "c")
    assert (found.reply_to, found.timestamp) == ("resolution.reply.x", moment)
    assert found.headers.items() >= {"x-n": 2}.items()
    assert (found.content_type, found.delivery_mode) == ("application/json", 2)


async def test_a_body_of_many_frames(post: Post) -> None:
    """A body of several frames arrives as it was."""
    body = bytes(range(256)) * 2_000
    await post.publisher.publish(outgoing(body=body))
    (found,) = await post.received()
    assert found.body == body


async def test_an_empty_body(post: Post) -> None:
    """A message without a body is one."""
    await post.publisher.publish(outgoing(body=b""))
    (found,) = await post.received()
    assert found.body == b""


async def test_each_of_a_batch_has_its_own_answer(post: Post) -> None:
    """One message that can't be routed or sent does not speak for its neighbours."""
    batch = [
        outgoing(),
        outgoing(routing_key="nowhere"),
        outgoing(routing_key="nowhere", mandatory=False),
        outgoing(correlation_id="x" * 256),
        outgoing(),
    ]
    first, second, third, fourth, fifth = await post.publisher.publish_all(batch)
    assert first is third is fifth is None
    assert isinstance(second, Unroutable)
    assert "letters under the key nowhere" in str(second)
    assert isinstance(fourth, Unsendable)
    assert "correlation_id" in str(fourth)
    assert {found.message_id for found in await post.received()} == {
        batch[0].message_id,
        batch[4].message_id,
    }


async def test_no_batch(post: Post) -> None:
    """Nothing to publish is published at once."""
    assert await post.publisher.publish_all([]) == []


async def test_faults_do_not_hold_the_message(post: Post) -> None:
    """Nothing that is raised leads back to the body, which holds a token."""
    with pytest.raises(Unroutable) as caught:
        await post.publisher.publish(outgoing(routing_key="nowhere"))
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET.decode() not in repr(vars(error)) + repr(error.args)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("lost_first", [True, False])
async def test_twins_in_one_batch_are_not_mistaken_for_each_other(
    post: Post, *, lost_first: bool
) -> None:
    """Of two messages with one id, just the one that can't be routed is reported."""
    lost, kept = outgoing(message_id="same", routing_key="nowhere"), outgoing(message_id="same")
    for _ in range(50):
        batch = [lost, kept] if lost_first else [kept, lost]
        faults = await post.publisher.publish_all(batch)
        assert [isinstance(fault, Unroutable) for fault in faults] == [
            message is lost for message in batch
        ]
    assert len(await post.received()) == 50


async def test_twins_of_many_publishers_are_not_mistaken_for_each_other(post: Post) -> None:
    """Equal ids published at once from many tasks each get their own answer."""
    messages = [
        outgoing(message_id=f"m{number % 3}", routing_key="box" if number % 2 else "nowhere")
        for number in range(60)
    ]
    answers = await asyncio.gather(
        *(post.publisher.publish(message) for message in messages), return_exceptions=True
    )
    assert [answer is None for answer in answers] == [
        message.routing_key == "box" for message in messages
    ]
    assert len(await post.received()) == 30


async def test_many_tasks_share_a_publisher(post: Post) -> None:
    """Batches of several tasks get mixed on the wire, and no answer goes astray."""

    async def some(number: int) -> None:
        batch = [
            outgoing(message_id=f"{number}-{place}", routing_key="nowhere" if place % 7 else "box")
            for place in range(150)
        ]
        faults = await post.publisher.publish_all(batch)
        assert [fault is None for fault in faults] == [place % 7 == 0 for place in range(150)]

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(some(number))
    assert len(await post.received()) == 8 * 22


async def test_a_full_queue_refuses(broker: Broker) -> None:
    """What a full queue does not take is refused, and is not in it."""
    async with connected(broker.url, name="test") as connection:
        limits = {"x-max-length": 3, "x-overflow": "reject-publish"}
        await prepare(await connection.channel(), limits)
        publisher = await Publisher.open(connection)
        faults = [(await publisher.publish_all([outgoing()]))[0] for _ in range(5)]
        kept = await Post(connection, publisher, broker.url).received()
    assert [isinstance(fault, Refused) for fault in faults] == [False] * 3 + [True] * 2
    assert len(kept) == 3


async def test_a_missing_exchange_ends_the_publisher_with_its_name(post: Post) -> None:
    """All that is in flight hears which exchange is missing and what to do; none hangs."""
    batches = await asyncio.gather(
        post.publisher.publish_all([outgoing(exchange="absent")]),
        post.publisher.publish_all([outgoing() for _ in range(20)]),
    )
    (culprit,), others = batches
    assert isinstance(culprit, ChannelRefused)
    assert "no exchange 'absent'" in str(culprit)
    assert "topology declare" in str(culprit)
    assert all(fault is None or isinstance(fault, BrokerLost) for fault in others)
    await asyncio.wait_for(post.publisher.closing, 5)
    assert post.publisher.is_closed
    assert isinstance(post.publisher.loss, ChannelRefused)
    assert len(await post.received()) >= others.count(None)


async def test_after_its_end_it_says_why(post: Post) -> None:
    """Whatever is published through an ended publisher fails at once with the reason."""
    with pytest.raises(ChannelRefused):
        await post.publisher.publish(outgoing(exchange="absent"))
    with pytest.raises(ChannelRefused, match="absent"):
        await post.publisher.publish(outgoing())
    fresh = await Publisher.open(post.connection)
    await fresh.publish(outgoing())
    assert len(await post.received()) == 1


async def test_a_connection_closed_under_load(broker: Broker) -> None:
    """When the broker closes the connection nothing hangs, and what was confirmed is there."""
    async with connected(broker.url, name="preparing") as connection:
        await prepare(await connection.channel())
    connection = await open_connection(broker.url, name="test")
    publisher = await Publisher.open(connection)
    answers: list[object] = []

    async def publish() -> None:
        while not publisher.is_closed:
            answers.extend(await publisher.publish_all([outgoing() for _ in range(20)]))

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(publish())
        assert await drop_connections(broker)
    await connection.close()
    assert {type(answer) for answer in answers} <= {type(None), BrokerLost}
    assert BrokerLost in map(type, answers)
    received = await Post(connection, publisher, broker.url).received()
    assert len(received) >= answers.count(None)


async def test_silence_ends_the_publisher(broker: Broker) -> None:
    """A broker that does not confirm in time is not waited for, nor trusted any more."""
    async with post_through_proxy(broker) as (post, proxy):
        await post.publisher.publish(outgoing())
        proxy.stall()
        async with asyncio.timeout(3):
            faults = await post.publisher.publish_all([outgoing() for _ in range(5)], 0.3)
            with pytest.raises(BrokerLost):
                await post.publisher.publish(outgoing())
        assert [type(fault) for fault in faults] == [BrokerLost] * 5
        assert post.publisher.is_closed
        assert post.publisher.closing.done()


async def test_no_more_than_the_bound_is_in_flight(broker: Broker) -> None:
    """However many are to be published, the broker owes no more than so many answers."""
    async with post_through_proxy(broker, in_flight=10) as (post, proxy):
        proxy.stall()
        batches = [[outgoing() for _ in range(3)] for _ in range(20)]
        publishing = asyncio.gather(*(post.publisher.publish_all(each, 0.5) for each in batches))
        owed = {0}
        while not publishing.done():
            owed.add(len(post.publisher._wire._channel.confirmations))
            await asyncio.sleep(0)
        await publishing
        assert 0 < max(owed) <= 10


async def test_more_than_the_bound_gets_through(broker: Broker) -> None:
    """A batch larger than the bound is published in parts."""
    async with connected(broker.url, name="test") as connection:
        await prepare(await connection.channel())
        publisher = await Publisher.open(connection, in_flight=7)
        assert not any(await publisher.publish_all([outgoing() for _ in range(100)]))
        assert len(await Post(connection, publisher, broker.url).received()) == 100


async def test_a_cancelled_publish_leaves_the_others_alone(broker: Broker) -> None:
    """After a task was cancelled in the middle of its publish every other answer is right."""
    async with post_through_proxy(broker) as (post, proxy):
        proxy.stall()
        doomed = asyncio.create_task(
            post.publisher.publish_all(
                [outgoing(message_id="twin", routing_key="nowhere"), outgoing()]
            )
        )
        async with asyncio.timeout(10):
            while not post.publisher._wire._channel.confirmations:  # noqa: ASYNC110 - a look inside
                await asyncio.sleep(0)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        proxy.resume()
        batch = [outgoing(message_id="twin"), outgoing(routing_key="nowhere"), outgoing()]
        faults = await post.publisher.publish_all(batch)
        assert [type(fault) for fault in faults] == [type(None), Unroutable, type(None)]
        assert not post.publisher.is_closed
        assert (len(post.publisher._window), len(post.publisher._returnable)) == (0, 0)


async def test_nothing_is_left_behind(post: Post) -> None:
    """After thousands of messages nothing of them is kept."""
    for _ in range(10):
        await post.publisher.publish_all([outgoing() for _ in range(200)])
        await post.publisher.publish_all([outgoing(routing_key="nowhere") for _ in range(20)])
    wire = post.publisher._wire._channel
    assert (len(wire.confirmations), len(wire.message_id_delivery_tag)) == (0, 0)
    assert (len(post.publisher._window), len(post.publisher._returnable)) == (0, 0)
