"""The nights by name: each breaks something, and mends what its page says that somebody mends."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final

from harness.connections import drop_connections
from harness.nights.night import night
from harness.nights.site import OTHER_KEY, OUR_KEY
from harness.schema import connected
from harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.nights.night import Scene

_DELETED: Final = {
    "code": "UnrecognizedClientException",
    "status": 400,
    "message": "The security token included in the request is invalid.",
}
_DOWN: Final = {"code": "InternalServiceErrorException", "status": 500, "message": "Try later."}


@night("wrong seller account", "ResolutionAllRejected", 1200)
async def wrong_seller(scene: Scene) -> AsyncIterator[None]:
    """Workers are rolled out with the credentials of another seller account, then with ours."""
    site = scene.site
    site.buyers.every = 0.1
    enough = "resolution:resolved:increase1h >= 60"
    await scene.until(enough)
    site.sign_with(OTHER_KEY)
    await site.units.roll_out()
    yield
    site.sign_with(OUR_KEY)
    await site.units.roll_out()


@night(
    "AWS credentials: the key was deleted",
    "ResolutionCallsStopped",
    300,
    case="AWS refuses us",
    quick=True,
)
async def key_deleted(scene: Scene) -> AsyncIterator[None]:
    """AWS does not know the workers' key any more; then there is a new one in their file."""
    await scene.site.simulator.order("PUT", "fault", _DELETED)
    yield
    scene.site.sign_with(OTHER_KEY)
    scene.site.sign_with(OUR_KEY)
    await scene.site.simulator.order("DELETE", "fault")


@night(
    "AWS is down in a busy hour",
    "ResolutionCallsStopped",
    600,
    settings={"WORKER_RATE__INITIAL": "1000"},
    case="AWS is down",
)
async def aws_down(scene: Scene) -> AsyncIterator[None]:
    """AWS answers every call with an error of its own, until it does not."""
    scene.site.buyers.every = 0.05
    await scene.site.simulator.order("PUT", "fault", _DOWN)
    yield
    await scene.site.simulator.order("DELETE", "fault")


@night("database password changed", "ResolutionLedgerUnavailable", 300, faster=10)
async def database_password(scene: Scene) -> AsyncIterator[None]:
    """Somebody changes the workers' password in the database, and their sessions end."""
    site = scene.site
    await site.hosts.execute(
        "ALTER ROLE resolution_worker PASSWORD 'another'",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'resolution_worker'",
    )
    yield


@night(
    "broker password changed",
    "ResolutionBrokerUnavailable",
    300,
    case="It refuses the password",
    faster=10,
)
async def broker_password(scene: Scene) -> AsyncIterator[None]:
    """Somebody changes the workers' password on the broker, and their connections end."""
    broker, user = scene.site.broker, scene.site.user("worker")
    body = {"password": "another", "tags": ""}
    await asyncio.to_thread(broker.management.call, "PUT", "users", user, body=body)
    await drop_connections(broker)
    yield


@night("broker stopped", "ResolutionBrokerUnavailable", 300, case="It is not there", faster=10)
async def broker_stopped(scene: Scene) -> AsyncIterator[None]:
    """The broker's machine is away, and comes back."""
    await scene.site.hosts.rabbitmq.server.stop()
    yield
    await scene.site.hosts.rabbitmq.server.start()


@night("queue deleted", "ResolutionQueueLost", 300, faster=6)
async def queue_deleted(scene: Scene) -> AsyncIterator[None]:
    """Somebody deletes the queue of the live lane."""
    broker = scene.site.broker
    path = ("queues", broker.vhost, "resolution.tokens")
    await asyncio.to_thread(broker.management.call, "DELETE", *path)
    yield


@night(
    "junk: made-up tokens, ten a second",
    "ResolutionJunk",
    1500,
    pages=0,
    settings={"WORKER_RATE__INITIAL": "1000"},
)
async def junk(scene: Scene) -> AsyncIterator[None]:
    """Strangers post made-up tokens, for a time."""
    site = scene.site

    async def flood() -> None:
        for number in range(10_000):
            await site.buyers.publish(f"invalid-{number}")
            await asyncio.sleep(0.05)

    task = asyncio.create_task(flood())
    yield
    task.cancel()


@night(
    "the only worker is frozen",
    "ResolutionNoWorker",
    300,
    workers=1,
    case="They run, and do not answer",
)
async def frozen(scene: Scene) -> AsyncIterator[None]:
    """The process of the only worker stands still."""
    scene.site.units.kill(1, signal.SIGSTOP)
    yield


@night(
    "staging may not use its database, beside a healthy production",
    "ResolutionLedgerUnavailable",
    300,
    environments=("staging", "production"),
    faster=10,
)
async def staging(scene: Scene) -> AsyncIterator[None]:
    """The workers may not connect to staging's database any more, but to production's."""
    site = scene.site
    await site.hosts.execute(
        f"REVOKE CONNECT ON DATABASE {site.database} FROM resolution_worker",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{site.database}'",
    )
    yield


@night(
    "production has no worker, beside a healthy staging",
    "ResolutionNoWorker",
    300,
    environments=("production", "staging"),
    case="They do not run",
)
async def gone(scene: Scene) -> AsyncIterator[None]:
    """All workers of production are stopped, and those of staging go on."""
    await scene.site.units.stop(1, 2)
    yield


@night("a worker that dies again and again", "ResolutionCrashLoop", 1500, pages=0)
async def crashes(scene: Scene) -> AsyncIterator[None]:
    """One of two workers is killed whenever it has started."""
    units = scene.site.units

    async def kill() -> None:
        while True:
            await units.workers[2].port()
            await asyncio.sleep(1.5)
            units.kill(2)
            await asyncio.sleep(0.7)

    task = asyncio.create_task(kill())
    yield
    task.cancel()


@night("a rate that was left at six a minute", "ResolutionBuyerStuck", 600)
async def slow_rate(scene: Scene) -> AsyncIterator[None]:
    """Somebody has limited the rate for another job, and forgotten it."""
    on_call = scene.site.identity("on-call")
    await on_call.run("resolution-worker rate 0.1 --actor bob --reason 'room for the other job'")
    yield


@night("AWS is slow", "ResolutionBuyersWait", 900)
async def aws_slow(scene: Scene) -> AsyncIterator[None]:
    """Each call takes a second, which stands for a minute, until it does not."""
    buyers = scene.site.buyers
    buyers.word, before = "slow-1000", buyers.word
    yield
    buyers.word = before


@night("a lock left open", "ResolutionUnready", 420, faster=10)
async def lock_left(scene: Scene) -> AsyncIterator[None]:
    """Somebody's open transaction in the database locks the table of the shared rate."""
    site = scene.site
    async with connected(site.schema.superuser) as somebody:
        await somebody.execute("BEGIN; LOCK TABLE resolution.quota IN ACCESS EXCLUSIVE MODE")
        yield


@night("a pause forgotten", "ResolutionPauseForgotten", 4200)
async def pause_forgotten(scene: Scene) -> AsyncIterator[None]:
    """Somebody has paused calls, and forgotten it."""
    on_call = scene.site.identity("on-call")
    await on_call.run("resolution-worker pause --actor bob --reason 'moving the database'")
    yield


@night(
    "AWS fails single tokens",
    "ResolutionTokensLost",
    600,
    settings={"WORKER_RETRY__ATTEMPTS": "1"},
)
async def tokens_lost(scene: Scene) -> AsyncIterator[None]:
    """AWS fails eight buyers' tokens, for each of which there was one attempt."""
    await scene.site.buyers.publish(*(f"fail-1-{number}" for number in range(8)))
    yield


@night(
    "a dead letter that expires",
    "ResolutionDeadLettersExpire",
    600,
    settings={"WORKER_RETRY__ATTEMPTS": "1"},
    faster=10,
)
async def letter_expires(scene: Scene) -> AsyncIterator[None]:
    """AWS fails a token, and nobody looks until 25 minutes of its four hours are left."""
    schema = scene.site.schema
    await scene.site.buyers.publish("fail-1-old")

    async def is_kept() -> bool:
        return bool(await schema.rows("SELECT FROM resolution.dead_letter"))

    await eventually(is_kept, "it is a dead letter")
    soon = "UPDATE resolution.dead_letter SET redeemable_until = now() + interval '150 seconds'"
    await schema.execute(soon)
    yield
