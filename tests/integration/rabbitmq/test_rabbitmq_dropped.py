"""What the broker does by itself with messages that wait, on the first series and on the latest."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from harness.servers import RABBITMQ_SERIES, Broker, rabbitmq_home
from tests.integration.hands import until
from worker.adapters.rabbitmq import consuming as consuming_link
from worker.adapters.rabbitmq.consumer import Source
from worker.adapters.rabbitmq.consuming import ConsumingLink
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.probing import depths, looking
from worker.adapters.rabbitmq.queue_watch import QueueWatch
from worker.adapters.rabbitmq.topology import PARKED, topology
from worker.core.records import Lane
from worker.core.token import keeping
from worker.core.token.headers import FIRST_SEEN_HEADER
from worker.core.token.incoming import Death
from worker.lab.servers import rabbitmq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from worker.adapters.rabbitmq.delivery import BrokerDelivery

KEPT, OTHER = "resolution.retry.8s", "resolution.retry.5s"
WANTED = topology({"5s": 5.0, "8s": 8.0})
SEEN = 1_700_000_000_000
EXPIRES_SECONDS = 2
SERIES = pytest.mark.parametrize("series", [RABBITMQ_SERIES[0], RABBITMQ_SERIES[-1]])


@SERIES
async def test_why_and_where_a_message_was_taken_out_of_its_lane(
    series: str, broker: Broker, tmp_path: Path
) -> None:
    """The reason, the lane, and whether our headers count, are read as the broker tells them."""
    async with _of_series(series, broker, tmp_path) as ours, _parked(ours) as parked:
        await _publish(ours, "resolution", "token", "expired", expiration=0.1)
        await _publish(ours, "resolution.internal", "crowd", "ours", expiration=0.1)
        await _publish(ours, "resolution", "backlog", "forged", expiration=0.1, forged=True)
        await until(lambda: len(parked) == 3)
        _policy(ours, {"max-length": 1, "overflow": "drop-head"}, "^resolution.backlog$")
        for name in ("pushed out", "stays"):
            await _publish(ours, "resolution", "backlog", name)
        await until(lambda: len(parked) == 4)
    found = {each.incoming.message_id: each.incoming for each in parked}
    assert found["expired"].death == Death("expired", Lane.LIVE)
    assert found["ours"].death == Death("expired", Lane.CROWD)
    assert found["forged"].death == Death("expired", Lane.BACKLOG)
    assert found["pushed out"].death == Death("maxlen", Lane.BACKLOG)
    assert {name for name, one in found.items() if one.internal} == {"ours"}


@SERIES
async def test_a_retry_queue_outlives_a_policy_that_expires_queues(
    series: str, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there while a replica watches it, and what is in it leaves when it is due.

    One that nobody watches is deleted; one that is gone is told, and stops nothing.
    """
    monkeypatch.setattr(consuming_link, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(keeping, "_PERIOD_SECONDS", 0.5)
    told: list[tuple[set[str], set[str]]] = []
    watch = QueueWatch({KEPT: 8.0}, seen=lambda there, gone: told.append((set(there), set(gone))))
    async with _of_series(series, broker, tmp_path) as ours, _parked(ours, watch) as parked:
        _policy(ours, {"expires": EXPIRES_SECONDS * 1000}, r"^resolution\.retry\.")
        await _publish(ours, "resolution.retry.8s", "token", "kept")
        began = time.monotonic()
        await _comes_to(ours, OTHER, None)
        # Where it comes to, and not where it leaves: a quorum queue that is slow to answer is told
        # as one with no message.
        await _comes_to(ours, "resolution.tokens", 1)
        assert time.monotonic() - began == pytest.approx(8, abs=2)
        await _comes_to(ours, KEPT, 0)
        assert told[0] == ({queue.name for queue in WANTED.queues}, set())
        assert told[-1] == ({KEPT}, set())
        ours.management.call("DELETE", "queues", ours.vhost, KEPT)
        await until(lambda: told[-1] == (set(), {KEPT}))
        await _publish(ours, "resolution.internal", "parked", "still consumed")
        await until(lambda: len(parked) == 1)


@asynccontextmanager
async def _of_series(series: str, broker: Broker, directory: Path) -> AsyncIterator[Broker]:
    """The session's broker where it is of this series, else one of its own, with our topology."""
    if series == RABBITMQ_SERIES[0]:
        await declare(broker.url, WANTED)
        yield broker
        return
    async with rabbitmq(directory / series, home=rabbitmq_home(series)) as own:
        await declare(own.amqp_url, WANTED)
        yield Broker("/", own.amqp_url, own.management, own.log)


async def _comes_to(broker: Broker, queue: str, ready: int | None) -> None:
    async with asyncio.timeout(30):
        while await _ready(broker, queue) != ready:  # noqa: ASYNC110 - the broker acts by itself
            await asyncio.sleep(0.1)


async def _ready(broker: Broker, queue: str) -> int | None:
    """How many messages wait in a queue; None without the queue."""
    async with looking(broker.url, name="looking", seconds=5) as connection:
        (found,) = await depths(connection, [queue])
    return found.ready


def _policy(broker: Broker, definition: Mapping[str, object], pattern: str) -> None:
    body = {"pattern": pattern, "definition": definition, "apply-to": "queues"}
    broker.management.call("PUT", "policies", broker.vhost, "somebody's", body=body)


@asynccontextmanager
async def _parked(
    broker: Broker, watch: QueueWatch | None = None
) -> AsyncIterator[list[BrokerDelivery]]:
    """What a worker is handed of the parked messages."""
    came: list[BrokerDelivery] = []
    link = ConsumingLink(
        lambda: broker.url,
        WANTED,
        [Source(PARKED, None, 20)],
        watch=watch or QueueWatch({}),
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
    broker: Broker, exchange: str, key: str, name: str, *, forged: bool = False, **properties: Any
) -> None:
    headers: dict[str, Any] = {FIRST_SEEN_HEADER: SEEN}
    if forged:
        death = {"count": 1, "reason": "expired", "queue": "resolution.backlog"}
        death |= {"exchange": "resolution.internal", "time": datetime.now(UTC)}
        headers["x-death"] = [death | {"routing-keys": ["backlog"]}]
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        target = await channel.get_exchange(exchange, ensure=False)
        message = aio_pika.Message(
            b"{}", message_id=name, headers=headers, delivery_mode=2, **properties
        )
        await target.publish(message, key)
