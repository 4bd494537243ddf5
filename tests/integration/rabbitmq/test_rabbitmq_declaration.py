"""The topology on a real broker: declared, shown, and doing what it is for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from harness.servers import Permissions
from worker.adapters.rabbitmq.connection import connected
from worker.adapters.rabbitmq.declaration import Row, TopologyFault, declare, missing, show
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.topology import topology
from worker.core.token.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

    from harness.servers import Broker

WANTED = topology({"300ms": 0.3, "5s": 5.0})
OBJECTS = len(WANTED.exchanges) + len(WANTED.queues)


@pytest.fixture
async def channel(broker: Broker) -> AsyncIterator[AbstractChannel]:
    """A channel of the owner's, the topology being declared."""
    await declare(broker.url, WANTED)
    async with connected(broker.url, name="test") as connection:
        yield await connection.channel()


async def publish(broker: Broker, exchange: str, key: str) -> None:
    """One confirmed, mandatory message."""
    async with connected(broker.url, name="publishing") as connection:
        publisher = await Publisher.open(connection)
        await publisher.publish(Outgoing(exchange, key, b"{}", "m", mandatory=True))


async def get(channel: AbstractChannel, queue: str) -> AbstractIncomingMessage:
    """The next message of a queue, which must come soon."""
    found = await channel.get_queue(queue)
    async with asyncio.timeout(10):
        while (message := await found.get(fail=False)) is None:  # noqa: ASYNC110 - a queue is asked
            await asyncio.sleep(0.02)
    return message


async def test_declaring_twice_changes_nothing(broker: Broker) -> None:
    """What is there and equal stays as it is, with its messages."""
    first = await declare(broker.url, WANTED)
    await publish(broker, "resolution", "token")
    second = await declare(broker.url, WANTED)
    assert [one.action for one in first].count("created") == OBJECTS
    assert [one.action for one in second].count("unchanged") == OBJECTS
    assert [one.action for one in second].count("bound") == len(WANTED.bindings)
    rows = {row.name: row for row in await show(broker.url, WANTED) if row.kind == "queue"}
    assert rows["resolution.tokens"].messages == 1


async def test_declaring_at_once(broker: Broker) -> None:
    """Two operators who declare at the same time do not disturb each other."""
    await asyncio.gather(*(declare(broker.url, WANTED) for _ in range(4)))
    assert {row.state for row in await show(broker.url, WANTED)} == {"ok"}


@pytest.mark.parametrize(
    ("exchange", "key", "queue"),
    [
        ("resolution", "token", "resolution.tokens"),
        ("resolution", "backlog", "resolution.backlog"),
        ("resolution.internal", "token", "resolution.tokens"),
        ("resolution.internal", "backlog", "resolution.backlog"),
        ("resolution.internal", "crowd", "resolution.crowd"),
        ("resolution.internal", "parked", "resolution.parked"),
        ("resolution.retry.5s", "backlog", "resolution.retry.5s"),
    ],
)
async def test_the_way_in(
    broker: Broker, channel: AbstractChannel, exchange: str, key: str, queue: str
) -> None:
    """A message published to an exchange under a key is in the queue meant for it."""
    await publish(broker, exchange, key)
    assert (await get(channel, queue)).routing_key == key


@pytest.mark.parametrize(
    ("key", "queue"), [("token", "resolution.tokens"), ("backlog", "resolution.backlog")]
)
async def test_a_retry_comes_back_into_its_own_lane(
    broker: Broker, channel: AbstractChannel, key: str, queue: str
) -> None:
    """After its delay a message is back in the lane it came from, through the inner exchange."""
    began = asyncio.get_running_loop().time()
    await publish(broker, "resolution.retry.300ms", key)
    message = await get(channel, queue)
    assert asyncio.get_running_loop().time() - began >= 0.3
    assert (message.exchange, message.routing_key) == ("resolution.internal", key)


async def returned(channel: AbstractChannel, queue: str, times: int) -> int:
    """Give the one message of a queue back so often, or until it is gone; how often it went."""
    found = await channel.get_queue(queue)
    for count in range(times):
        async with asyncio.timeout(5):
            while (message := await found.get(fail=False)) is None:
                result = await found.channel.get_queue("resolution.parked")
                if queue != "resolution.parked" and result.declaration_result.message_count:
                    return count
                await asyncio.sleep(0.01)
        await message.nack(requeue=True)
    return times


async def test_a_message_that_kills_workers_is_parked(
    broker: Broker, channel: AbstractChannel
) -> None:
    """What comes back again and again leaves its lane after a hundred returns, and is kept."""
    await publish(broker, "resolution", "token")
    assert await returned(channel, "resolution.tokens", 150) == 101
    parked = await get(channel, "resolution.parked")
    assert parked.body == b"{}"


async def test_the_parked_queue_never_drops(broker: Broker, channel: AbstractChannel) -> None:
    """A parked message outlives more returns than any broker's own limit."""
    await publish(broker, "resolution.internal", "parked")
    assert await returned(channel, "resolution.parked", 30) == 30
    assert (await get(channel, "resolution.parked")).body == b"{}"


async def test_show_on_an_empty_broker_creates_nothing(broker: Broker) -> None:
    """What is missing is shown as missing, and is so still."""
    for _ in range(2):
        rows = await show(broker.url, WANTED)
        assert {row.state for row in rows} == {"missing"}
        assert len(rows) == OBJECTS


async def make(broker: Broker, name: str, **other: str | int) -> None:
    """A queue that somebody made with some other arguments."""
    (queue,) = (queue for queue in WANTED.queues if queue.name == name)
    arguments: dict[str, Any] = {**queue.arguments, **other}
    async with connected(broker.url, name="somebody") as connection:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True, arguments=arguments)


async def test_a_queue_made_otherwise(broker: Broker) -> None:
    """A difference is named with object, both values and remedy; all else is declared."""
    await make(broker, "resolution.tokens", **{"x-max-length": 5})
    with pytest.raises(TopologyFault) as caught:
        await declare(broker.url, WANTED)
    (fault,) = caught.value.faults
    assert fault.startswith("queue resolution.tokens: ")
    assert "'x-max-length'" in fault
    assert "received '2000000' but current is '5'" in fault
    assert "delete it (`rabbitmqctl delete_queue resolution.tokens`) and declare again" in fault
    assert "resolution.backlog" in {one.name for one in caught.value.done}
    rows = {(row.kind, row.name): row for row in await show(broker.url, WANTED)}
    differing = rows.pop(("queue", "resolution.tokens"))
    assert (differing.state, differing.messages, differing.consumers) == ("differs", 0, 0)
    assert "received '2000000' but current is '5'" in differing.detail
    assert {row.state for row in rows.values()} == {"ok"}


async def test_an_exchange_of_another_kind(broker: Broker) -> None:
    """An exchange of another kind is a difference as well, and its bindings are left alone."""
    async with connected(broker.url, name="somebody") as connection:
        channel = await connection.channel()
        await channel.declare_exchange("resolution.internal", "topic", durable=True)
    with pytest.raises(TopologyFault) as caught:
        await declare(broker.url, WANTED)
    (fault,) = caught.value.faults
    assert fault.startswith("exchange resolution.internal: ")
    assert "'type'" in fault
    assert "delete the exchange and declare again" in fault


async def ignore(_: object) -> None:
    """Receives nothing."""


async def test_show_counts(broker: Broker, channel: AbstractChannel) -> None:
    """Messages and consumers of a queue are shown with it."""
    await publish(broker, "resolution", "backlog")
    queue = await channel.get_queue("resolution.parked")
    await queue.consume(ignore)
    rows = {row.name: row for row in await show(broker.url, WANTED) if row.kind == "queue"}
    assert rows["resolution.backlog"] == Row("queue", "resolution.backlog", "ok", "", 1, 0)
    assert rows["resolution.parked"] == Row("queue", "resolution.parked", "ok", "", 0, 1)


async def test_a_user_who_may_not_declare(broker: Broker) -> None:
    """A missing permission is named with the object and whom to ask for it."""
    url = broker.user(Permissions(read=".*"))
    with pytest.raises(TopologyFault) as caught:
        await declare(url, WANTED)
    assert len(caught.value.faults) == OBJECTS
    assert "ACCESS_REFUSED" in caught.value.faults[0]
    assert "WORKER_AMQP__ADMIN_URL" in caught.value.faults[0]
    assert caught.value.done == []


async def test_a_user_who_may_not_look_closely(broker: Broker) -> None:
    """What is there but may not be compared is shown as unchecked, not as right or wrong."""
    await declare(broker.url, WANTED)
    rows = await show(broker.user(Permissions(read=".*")), WANTED)
    assert {row.state for row in rows} == {"unchecked"}


async def test_missing_names_what_is_not_there(broker: Broker) -> None:
    """A user who may declare nothing learns what is missing, each by kind and name."""
    url = broker.user(Permissions(read=".*"))
    await declare(broker.url, topology({"5s": 5.0}))
    async with connected(url, name="worker") as connection:
        assert await missing(connection, topology({"5s": 5.0})) == []
        assert [item.title for item in await missing(connection, WANTED)] == [
            "exchange resolution.retry.300ms",
            "queue resolution.retry.300ms",
        ]
