"""A broker that freezes, dies, holds us back, or takes away what we use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aio_pika
import pytest

from harness.connections import drop_connections
from harness.system import DELAYS, FaultCase, run_fault
from harness.waiting import eventually
from tests.faults.queues import with_arguments
from tests.seeds import seeds
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.publisher import PUBLISH_SECONDS
from worker.adapters.rabbitmq.topology import topology
from worker.core.durations import parse

if TYPE_CHECKING:
    from harness.ground import Ground
    from harness.system import System
    from worker.adapters.rabbitmq.topology import Topology
    from worker.lab.servers import RabbitMQ

# What a worker logs when it loses the broker, and when the broker takes nothing from it.
LINK = ("broker_link_down",)
UNCONFIRMED = ("publish_not_confirmed",)
ALARMED = ("broker_alarm",)  # and why
pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

FIRST_RETRY = f"resolution.retry.{DELAYS.split(',')[0]}"
PLANNED = topology({text: parse(text).seconds for text in DELAYS.split(",")})
HEARTBEAT_SECONDS = 10


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_broker_frozen(broker_ground: Ground, own_rabbitmq: RabbitMQ, seed: int) -> None:
    """A broker that stands still for more than three heartbeats loses nothing."""

    async def freeze(_: System) -> None:
        own_rabbitmq.server.freeze()
        try:
            await asyncio.sleep(3.5 * HEARTBEAT_SECONDS)
        finally:
            own_rabbitmq.server.thaw()

    async with broker_ground.system(seed) as system:
        await run_fault(system, FaultCase("broker SIGSTOP 35 s", freeze, evidence=LINK), seed)


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_broker_killed(broker_ground: Ground, own_rabbitmq: RabbitMQ, seed: int) -> None:
    """A broker that is killed and started again has what it confirmed."""

    async def restart(_: System) -> None:
        own_rabbitmq.server.kill()
        await asyncio.sleep(2)
        await own_rabbitmq.server.start()

    async with broker_ground.system(seed) as system:
        await own_rabbitmq.sync()  # the virtual host, its users and queues are just made
        await run_fault(system, FaultCase("broker kill -9", restart, evidence=LINK), seed)


ALARMS = {
    "memory alarm": (
        ("set_vm_memory_high_watermark", "absolute", "1024"),
        ("set_vm_memory_high_watermark", "absolute", "1GB"),
    ),
    "disk alarm": (("set_disk_free_limit", "90000GB"), ("set_disk_free_limit", "16MB")),
}


@pytest.mark.parametrize("seed", seeds("FAULT"))
@pytest.mark.parametrize("alarm", ALARMS)
async def test_broker_alarm(
    broker_ground: Ground, own_rabbitmq: RabbitMQ, alarm: str, seed: int
) -> None:
    """A broker under alarm takes nothing from publishers; what is in hand is told afterwards."""
    raised, lowered = ALARMS[alarm]

    async def hold(system: System) -> None:
        # Calls that return while the alarm is on, whenever that is: there is something to be told.
        for seconds in (4, 8, 12, 16):
            await system.client.publish_all(system.factory.of(f"slow-{seconds}000-{{n}}", 5))
        await own_rabbitmq.ctl(*raised)
        try:
            await eventually(lambda: system.worker.logged(*ALARMED), "the alarm is told")
            await system.worker.unready("publishing", "under alarm", "rabbitmq-diagnostics alarms")
            await asyncio.sleep(1.5 * PUBLISH_SECONDS)  # longer than a confirm is waited for
            assert not system.worker.logged("publish_not_confirmed")
        finally:
            await own_rabbitmq.ctl(*lowered)

    async with broker_ground.system(seed) as system:
        settings = {"WORKER_AWS__TIMEOUT": "20s"}
        await run_fault(system, FaultCase(alarm, hold, settings, evidence=ALARMED), seed)


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_ack_timeout(broker_ground: Ground, own_rabbitmq: RabbitMQ, seed: int) -> None:
    """A broker that closes the channel for want of an ack gets the acks of another."""

    async def limit(milliseconds: str) -> None:
        for name, value in (("consumer_timeout", milliseconds), ("channel_tick_interval", "1000")):
            await own_rabbitmq.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")

    async def wait(system: System) -> None:
        # Calls that take longer than the broker waits for their acks.
        some = system.factory.of("slow-6000-{n}", 10)
        await system.client.publish_all(some)
        await eventually(
            lambda: "delivery acknowledgement" in system.stage.broker.log.read_text()[seen:],
            "an ack timeout",
        )

    await limit("3000")
    seen = len(own_rabbitmq.log.read_text())
    try:
        async with broker_ground.system(seed) as system:
            case = FaultCase(
                "ack timeout", wait, settings={"WORKER_AWS__TIMEOUT": "10s"}, evidence=LINK
            )
            await run_fault(system, case, seed)
    finally:
        await limit("1800000")


# --- faults of connections, channels and queues, on any broker ---


async def half_open(system: System) -> None:
    """Who connects is accepted, and hears nothing more."""
    system.amqp.silent = True
    await system.amqp.reset()
    await asyncio.sleep(12)  # beyond the bound of a handshake
    system.amqp.silent = False
    await system.amqp.reset()


async def cut_in_the_middle(system: System) -> None:
    """Connections break off in the middle of whatever is being sent."""
    for _ in range(6):
        system.amqp.cut_after_bytes(system.factory.chance.randrange(8000))
        await asyncio.sleep(0.7)
    system.amqp.cut_after_bytes(None)


async def closed_by_the_broker(system: System) -> None:
    """An operator closes all connections, several times in the middle of batches."""
    for _ in range(3):
        await system.amqp.reset()
        await drop_connections(system.stage.broker)
        await asyncio.sleep(system.factory.chance.uniform(0.3, 1.0))


async def refused(system: System) -> None:
    """Nobody listens."""
    await system.amqp.shut()
    await asyncio.sleep(4)
    await system.amqp.open()


async def stalled(system: System) -> None:
    """The network holds everything back, then lets it go."""
    system.amqp.stall()
    await asyncio.sleep(12)
    system.amqp.resume()


async def slow(system: System) -> None:
    """Every exchange takes a good while."""
    system.amqp.latency = 0.2
    await asyncio.sleep(4)
    system.amqp.latency = 0.0


async def deleted(system: System) -> None:
    """A queue that happens to be empty is deleted and declared again: consumers are cancelled."""
    async with await aio_pika.connect(system.stage.broker.url) as connection:
        for queue in ("resolution.backlog", FIRST_RETRY):
            channel = await connection.channel()
            await channel.queue_delete(queue, if_unused=False, if_empty=False)
        await asyncio.sleep(2)
    await declare(system.stage.broker.url, PLANNED)


async def unroutable(system: System) -> None:
    """The retry exchange leads nowhere for a while."""
    async with await aio_pika.connect(system.stage.broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(FIRST_RETRY)
        await queue.unbind(FIRST_RETRY, "")
        await system.client.publish_all(system.factory.of("fail-19-{n}", 10))
        await asyncio.sleep(5)
        await queue.bind(FIRST_RETRY, "")


async def full(system: System) -> None:
    """More is to be retried than the retry queue holds."""
    await system.client.publish_all(system.factory.of("fail-8-{n}", 20), seconds=0.5)
    await asyncio.sleep(4)


def narrow(planned: Topology) -> Topology:
    """Room for two messages among those that wait for a retry."""
    for queue in ("resolution.retry.200ms", "resolution.retry.1s"):
        planned = with_arguments(planned, queue, max_length=5)
    return planned


CASES = [
    FaultCase("broker half open", half_open, evidence=LINK),
    FaultCase("broker cut in the middle", cut_in_the_middle, before=120, during=120, evidence=LINK),
    FaultCase(
        "broker closing connections", closed_by_the_broker, before=120, during=120, evidence=LINK
    ),
    FaultCase("broker refusing connections", refused, evidence=LINK),
    FaultCase("broker stalled 12 s", stalled, evidence=UNCONFIRMED),
    FaultCase("broker slow", slow),
    FaultCase("unroutable retry", unroutable, evidence=UNCONFIRMED),
]
QUICK = {"broker closing connections"}


@pytest.mark.parametrize("seed", seeds("FAULT"))
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(one, id=one.name, marks=[pytest.mark.faults_quick] * (one.name in QUICK))
        for one in CASES
    ],
)
async def test_broker_out_of_order(ground: Ground, case: FaultCase, seed: int) -> None:
    """Whatever befalls connections and channels, nothing is lost or doubled, and work goes on."""
    async with ground.system(seed) as system:
        await run_fault(system, case, seed)


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_a_full_retry_queue(ground: Ground, seed: int) -> None:
    """A retry queue that refuses is no loss."""
    async with ground.system(seed, narrow) as system:
        await run_fault(system, FaultCase("full retry queue", full, evidence=UNCONFIRMED), seed)


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_a_queue_deleted_and_declared_again(ground: Ground, seed: int) -> None:
    """Consumers whose queue is deleted are ended by the broker, and begin again once it is back.

    What stood in the queue is gone with it, so it is deleted while it is empty.
    """
    async with ground.system(seed) as system:
        case = FaultCase(
            "queue deleted and declared again", deleted, before=0, during=0, evidence=LINK
        )
        await run_fault(system, case, seed)
