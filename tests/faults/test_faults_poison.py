"""A message that ends whatever process handles it, on each series of RabbitMQ."""

from __future__ import annotations

import asyncio
import textwrap
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from harness.ground import Ground
from harness.history import PARKED, Due
from harness.servers import RABBITMQ_SERIES, BrokerServer, rabbitmq_home, rabbitmq_homes
from harness.system import conclude, tell
from harness.waiting import eventually
from tests.faults.queues import with_arguments
from tests.seeds import seeds
from worker.adapters.rabbitmq.topology import LANE_QUEUES
from worker.lab.servers import rabbitmq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from worker.adapters.rabbitmq.topology import Topology

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]  # dozens of starts

MARK = "ends-the-process"
LIMIT = 40  # instead of 100: so many starts show as much
MOST_STARTS = 60
MOST_RETURNS = 20
MOST_MISCOUNTED = 5

# What Python imports by itself at its start: the message then ends the real worker, and it is
# written down how often its neighbours came back.
SITE = """
    import os
    from worker.core.token import submissions

    parse = submissions.parse

    def deadly(incoming, now, *rest):
        if {mark!r}.encode() in incoming.body:
            with open({kills!r}, "a") as kills:
                kills.write("%d\\n" % incoming.headers.get("x-delivery-count", 0))
            os._exit(139)
        if incoming.redelivered:
            with open({returns!r}, "a") as returns:
                returns.write("%d\\n" % incoming.headers["x-delivery-count"])
        return parse(incoming, now, *rest)

    submissions.parse = deadly
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=RABBITMQ_SERIES)
async def series_ground(
    request: pytest.FixtureRequest, ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ground]:
    """A ground with a broker of each series; one that is missing here is named in the report."""
    series = request.param
    if series not in rabbitmq_homes():
        tell(f"fault='message that kills' rabbitmq={series} skipped: it is not to be had here")
    folder = tmp_path_factory.mktemp("rabbitmq") / "node"
    async with rabbitmq(folder, home=rabbitmq_home(series)) as running:
        server = BrokerServer(running.amqp_url, running.management, running.log)
        yield Ground(
            server, ground.postgres, ground.template, ground.simulator, ground.keys, ground.home
        )


def with_limit(planned: Topology) -> Topology:
    """The topology with another delivery limit for both lanes."""
    for queue in LANE_QUEUES.values():
        planned = with_arguments(planned, queue, delivery_limit=LIMIT)
    return planned


@pytest.mark.parametrize("lane", ["live", "backlog"])
@pytest.mark.parametrize("seed", seeds("FAULT")[:1])
async def test_a_message_that_kills(
    series_ground: Ground, tmp_path: Path, seed: int, lane: str
) -> None:
    """It alone is parked at the delivery limit and kept; its neighbours are settled.

    In whichever lane it comes, and in whichever they do: none comes back nearly as often as it.
    """
    returns, kills = tmp_path / "returns", tmp_path / "kills"
    returns.touch()
    site = textwrap.dedent(SITE).format(mark=MARK, returns=str(returns), kills=str(kills))
    (tmp_path / "sitecustomize.py").write_text(site)
    async with series_ground.system(seed, with_limit) as system:
        factory = system.factory
        (base,) = factory.of("ok-{n}")
        poison = factory.one(
            base.token or "", members={"x": MARK}, lane=lane, reply_to=None, due=(Due(PARKED),)
        )
        neighbours = factory.some(80)
        await system.client.publish_all([*neighbours[:20], poison, *neighbours[20:]])

        starts = 0
        while not await system.stage.schema.rows(
            "SELECT FROM resolution.dead_letter WHERE reason = 'parked'"
        ):
            assert starts < MOST_STARTS, "it is not parked"
            if not system.workers or system.worker.process.poll() is not None:
                starts += 1
                system.start(PYTHONPATH=str(tmp_path))
            await asyncio.sleep(0.05)
        began = time.monotonic()
        await eventually(lambda: system.worker.logged("consuming"), "the last one consumes")
        recovered = time.monotonic() - began + await system.recovery()

        version = series_ground.broker.management.call("GET", "overview")["rabbitmq_version"]
        name = f"message that kills in the {lane} lane, RabbitMQ {version}"
        await conclude(system, name, seed, recovered)
        most = max(map(int, returns.read_text().split()), default=0)
        counts = [int(word) for word in kills.read_text().split()]
        tell(
            f"fault={name!r} killed {len(counts)} processes in {starts} starts, its last count was "
            f"{counts[-1]}, neighbours came back {most} times at most"
        )
        # It ends process after process, until the broker's own count of it has come to the limit.
        # 4.0 counts one return more now and then, where a consumer ends as the message comes.
        assert counts == sorted(set(counts))
        assert counts[-1] >= LIMIT - MOST_MISCOUNTED
        assert len(counts) >= LIMIT - MOST_MISCOUNTED
        assert most <= MOST_RETURNS
