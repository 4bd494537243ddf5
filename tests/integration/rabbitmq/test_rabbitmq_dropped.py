"""What the broker does by itself with messages that wait, on the first series and on the latest."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aio_pika

from harness.servers import RABBITMQ_SERIES, rabbitmq_home
from tests.integration.hands import until
from worker.adapters.rabbitmq.consumer import Source
from worker.adapters.rabbitmq.consuming import ConsumingLink
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import PARKED, topology
from worker.core.records import Lane
from worker.core.token.headers import FIRST_SEEN_HEADER
from worker.core.token.incoming import Death
from worker.lab.servers import rabbitmq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from worker.adapters.rabbitmq.delivery import BrokerDelivery
    from worker.lab.servers import RabbitMQ

WANTED = topology({"5s": 5.0})
SEEN = 1_700_000_000_000


async def test_why_and_where_a_message_was_taken_out_of_its_lane(tmp_path: Path) -> None:
    """The reason, the lane, and whether our headers count, are read as the broker tells them."""
    for series in (RABBITMQ_SERIES[0], RABBITMQ_SERIES[-1]):
        async with _broker(tmp_path / series, series) as broker, _parked(broker) as parked:
            await _publish(broker, "resolution", "token", "expired", expiration=0.1)
            await _publish(broker, "resolution.internal", "crowd", "ours", expiration=0.1)
            await _publish(broker, "resolution", "backlog", "forged", expiration=0.1, forged=True)
            await until(lambda: len(parked) == 3)
            _policy(broker, {"max-length": 1, "overflow": "drop-head"}, "^resolution.backlog$")
            for name in ("pushed out", "stays"):
                await _publish(broker, "resolution", "backlog", name)
            await until(lambda: len(parked) == 4)
        found = {each.incoming.message_id: each.incoming for each in parked}
        assert found["expired"].death == Death("expired", Lane.LIVE)
        assert found["ours"].death == Death("expired", Lane.CROWD)
        assert found["forged"].death == Death("expired", Lane.BACKLOG)
        assert found["pushed out"].death == Death("maxlen", Lane.BACKLOG)
        assert {name for name, one in found.items() if one.internal} == {"ours"}


@asynccontextmanager
async def _broker(directory: Path, series: str) -> AsyncIterator[RabbitMQ]:
    async with rabbitmq(directory, home=rabbitmq_home(series)) as broker:
        await declare(broker.amqp_url, WANTED)
        yield broker


def _policy(broker: RabbitMQ, definition: Mapping[str, object], pattern: str) -> None:
    body = {"pattern": pattern, "definition": definition, "apply-to": "queues"}
    broker.management.call("PUT", "policies", "/", "somebody's", body=body)


@asynccontextmanager
async def _parked(broker: RabbitMQ) -> AsyncIterator[list[BrokerDelivery]]:
    """What a worker is handed of the parked messages."""
    came: list[BrokerDelivery] = []
    link = ConsumingLink(
        lambda: broker.amqp_url,
        WANTED,
        [Source(PARKED, None, 20)],
        watched=[],
        deliver=came.append,
        lost=lambda: None,
        report=lambda _: None,
        deaths=lambda: 0,
    )
    running = asyncio.create_task(link.run())
    try:
        yield came
    finally:
        running.cancel()
        await asyncio.wait([running])


async def _publish(
    broker: RabbitMQ, exchange: str, key: str, name: str, *, forged: bool = False, **properties: Any
) -> None:
    headers: dict[str, Any] = {FIRST_SEEN_HEADER: SEEN}
    if forged:
        death = {"count": 1, "reason": "expired", "queue": "resolution.backlog"}
        death |= {"exchange": "resolution.internal", "time": datetime.now(UTC)}
        headers["x-death"] = [death | {"routing-keys": ["backlog"]}]
    async with await aio_pika.connect(broker.amqp_url) as connection:
        channel = await connection.channel()
        target = await channel.get_exchange(exchange, ensure=False)
        message = aio_pika.Message(
            b"{}", message_id=name, headers=headers, delivery_mode=2, **properties
        )
        await target.publish(message, key)
