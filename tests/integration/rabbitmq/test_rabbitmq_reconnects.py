"""Connections lost one after another, with hundreds of messages in hand: the pace is soon back."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from harness.servers import rabbitmq_home
from harness.tcp_proxy import proxy_to
from tests.fakes.worker import working
from tests.integration.hands import WANTED, until
from worker.adapters.rabbitmq.connection import connected
from worker.adapters.rabbitmq.consumer import Source
from worker.adapters.rabbitmq.consuming import ConsumingLink
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.queue_watch import QueueWatch
from worker.adapters.rabbitmq.topology import BACKLOG, TOKENS
from worker.core.records import Lane
from worker.core.token.outgoing import Outgoing
from worker.core.token.poison import Mode
from worker.lab.servers import rabbitmq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.worker import FakeWorker
    from worker.adapters.rabbitmq.delivery import BrokerDelivery

RATE = 50.0
LATENCY_SECONDS = 0.1
MESSAGES = 900
AGAIN_SECONDS = 3.0


class Replica:
    """A pipeline that consumes both lanes, and how its consumers were seen to take messages.

    Attributes:
        epochs: How many connections it has lost.
        modes: What was seen at each delivery.
    """

    def __init__(self, worker: FakeWorker, url: str) -> None:
        self.worker = worker
        self.epochs = 0
        self.modes: set[Mode] = set()
        self.link = ConsumingLink(
            lambda: url,
            WANTED,
            [Source(TOKENS, Lane.LIVE, 1_000), Source(BACKLOG, Lane.BACKLOG, 1_000)],
            watch=QueueWatch({}),
            deliver=self._deliver,
            lost=self._lose,
            report=lambda _: None,
            deaths=lambda: 0,
        )

    def _deliver(self, delivery: BrokerDelivery) -> None:
        self.modes |= {consumer._guard.mode for consumer in self.link._consumers}
        self.worker.pipeline.deliver(delivery)

    def _lose(self) -> None:
        self.epochs += 1
        self.worker.pipeline.drop_dead()

    @property
    def in_hand(self) -> int:
        """How many messages are not acked."""
        return sum(consumer.unacked for consumer in self.link._consumers)

    def calls_since(self, instant: float) -> int:
        """Calls made since an instant of the loop's clock."""
        return sum(at >= instant for at, _ in self.worker.aws.calls)


@asynccontextmanager
async def consuming(url: str) -> AsyncIterator[Replica]:
    """A replica at work."""
    async with working(concurrency=16, ceiling=RATE) as worker:
        worker.aws.latency = LATENCY_SECONDS
        replica = Replica(worker, url)
        running = asyncio.create_task(replica.link.run())
        try:
            yield replica
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait([running])


async def submit(url: str) -> None:
    """Many tokens, two thirds of them in the live lane."""
    batch = [
        Outgoing(
            "resolution",
            "token" if number % 3 else "backlog",
            json.dumps({"registration_token": f"t-{number}"}).encode(),
            f"m-{number}",
        )
        for number in range(MESSAGES)
    ]
    async with connected(url, name="publishing") as connection:
        assert not any(await (await Publisher.open(connection)).publish_all(batch))


@pytest.mark.parametrize("series", ["3.10", "4.3"])
@pytest.mark.long
async def test_after_two_and_three_lost_connections_the_pace_is_back(
    series: str, tmp_path: Path
) -> None:
    """Within 3 s calls are made at nine tenths of the rate at least, and nothing is suspected."""
    clock = asyncio.get_running_loop().time
    async with (
        rabbitmq(tmp_path / "node", home=rabbitmq_home(series)) as broker,
        proxy_to(broker.amqp_url) as proxy,
    ):
        await declare(proxy.url, WANTED)
        await submit(proxy.url)
        async with consuming(proxy.url) as replica:
            await until(lambda: replica.calls_since(0) >= 20)
            replica.modes.clear()  # how it began
            for times in (1, 2, 3):
                await until(lambda: replica.in_hand >= 500)
                await proxy.reset()
                await until(lambda times=times: replica.epochs == times)  # type: ignore[misc]
                await until(lambda: replica.in_hand >= 500)
                back = clock()
                if times == 1:
                    await asyncio.sleep(0.5)
                    continue
                await until(lambda back=back: clock() >= back + AGAIN_SECONDS)  # type: ignore[misc]
                calls = replica.calls_since(back + 1)
                assert calls >= 0.9 * RATE * (AGAIN_SECONDS - 1)
            assert replica.modes == {Mode.NORMAL}
            assert replica.link.suspected == 0
