"""How calls stand, told over a real broker: what arrives, and that it disturbs nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest
from structlog.testing import capture_logs

from harness.servers import Permissions, reply_key
from harness.waiting import eventually
from worker.adapters.rabbitmq import state_channel
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.publishing import PublishingLink
from worker.adapters.rabbitmq.state_channel import StateChannel
from worker.adapters.rabbitmq.topology import STATE, topology
from worker.core.token.outgoing import INTERNAL, Outgoing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.servers import Broker

WANTED = topology({"5s": 5.0})
MOVE = Outgoing(INTERNAL, "token", b"{}", "m", mandatory=True)


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[tuple[PublishingLink, StateChannel]]:
    """A publishing link that is up, and the channel beside it."""
    link = PublishingLink(lambda: url, lambda _: None)
    running = asyncio.create_task(link.run())
    try:
        await eventually(lambda: link.connection, "there is a connection")
        yield link, StateChannel(link, "replica-1")
    finally:
        running.cancel()
        await asyncio.wait([running])


@asynccontextmanager
async def hearing(broker: Broker) -> AsyncIterator[list[Any]]:
    """What a caller hears."""
    web = broker.shipped("CALLER")
    heard: list[Any] = []

    async def take(message: Any) -> None:
        heard.append(message)

    async with await aio_pika.connect(web, timeout=30) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(reply_key(web, "states"), exclusive=True)
        await queue.bind(STATE, "")
        await queue.consume(take, no_ack=True)
        yield heard


async def channels(broker: Broker) -> int:
    """How many channels the publishing connection has."""
    call = broker.management.call
    found = await asyncio.to_thread(call, "GET", "vhosts", broker.vhost, "channels")
    return sum("publish" in str(each) for each in found)


async def test_a_report_arrives_as_documented(broker: Broker) -> None:
    """It is transient JSON that expires after three seconds, under the replica's name."""
    await declare(broker.shipped("resolution_admin"), WANTED)
    worker = broker.shipped("resolution_worker")
    async with linked(worker) as (_, channel), hearing(broker) as heard:
        await channel.send(b'{"version": 1}')
        await channel.send(b'{"version": 2}')
        await eventually(lambda: len(heard) == 2, "both are heard")
    (first, second) = heard
    assert (first.body, second.body) == (b'{"version": 1}', b'{"version": 2}')
    assert (first.content_type, first.app_id) == ("application/json", "replica-1")
    assert first.delivery_mode == 1
    assert first.expiration == 3.0
    assert first.routing_key == ""
    assert channel.fault is None


@pytest.mark.parametrize("missing", ["exchange", "right"])
async def test_a_refusal_is_told_and_disturbs_no_publish(
    broker: Broker, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without exchange or right nothing but that is lost, and it is told once a minute."""
    await declare(broker.shipped("resolution_admin"), WANTED)
    worker = broker.shipped("resolution_worker")
    if missing == "exchange":
        broker.management.call("DELETE", "exchanges", broker.vhost, STATE)
    else:
        worker = broker.user(Permissions("^$", r"^resolution\.internal$", "^$"))
    monkeypatch.setattr(state_channel, "_REFUSED_SECONDS", 0.0)
    async with linked(worker) as (link, channel):
        connection = link.connection
        with capture_logs() as told:
            for _ in range(3):
                await channel.send(b"{}")
                assert await link.send([MOVE]) == [None]
                await eventually(lambda: channel._wire is None or channel._wire.is_closed, "closed")
                await channel.send(b"{}")
        assert link.connection is connection
        (line,) = [each for each in told if each["event"] == "state_not_sent"]
        remedy = {"exchange": "topology declare", "right": "deploy/rabbitmq"}[missing]
        assert STATE in line["reason"]
        assert remedy in line["reason"]
        assert channel.fault == line["reason"]
        assert await link.send([MOVE]) == [None]
        if missing == "exchange":
            await declare(broker.url, WANTED)
            async with hearing(broker) as heard:

                async def is_heard() -> bool:
                    await channel.send(b"{}")
                    return bool(heard) and channel.fault is None

                await eventually(is_heard, "it is heard once the exchange is there")


async def test_a_refusal_is_not_tried_again_at_once(broker: Broker) -> None:
    """Each refusal is a line in the broker's log: after one it rests for some seconds."""
    worker = broker.shipped("resolution_worker")
    async with linked(worker) as (_, channel):
        await channel.send(b"{}")
        await eventually(lambda: channel._wire is None or channel._wire.is_closed, "it is closed")
        for _ in range(3):
            await channel.send(b"{}")
        assert channel._wire is None
        assert channel.fault is not None


async def test_without_a_connection_nothing_is_sent(broker: Broker) -> None:
    """While there is no connection a report is let go; over the next one it is sent again."""
    await declare(broker.shipped("resolution_admin"), WANTED)
    worker = broker.shipped("resolution_worker")
    idle = StateChannel(PublishingLink(lambda: worker, lambda _: None), "replica-2")
    await idle.send(b"{}")
    async with linked(worker) as (link, channel), hearing(broker) as heard:
        await channel.send(b"1")
        await eventually(lambda: heard, "it is heard")
        connection = link.connection
        assert connection is not None
        await connection.close()
        await channel.send(b"lost")
        await eventually(
            lambda: link.connection not in {None, connection}, "there is another connection"
        )
        await channel.send(b"2")
        await eventually(lambda: heard[-1].body == b"2", "it is heard again")
        assert channel.fault is None
