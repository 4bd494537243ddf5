"""The nights of tickets: what nobody is woken for."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aio_pika

from harness.clocks import clock
from harness.nights.night import night
from harness.nights.site import OUR_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from harness.nights.night import Scene
    from harness.nights.site import Site

_REPLY: Final = "resolution.reply.web"
_ONE_ATTEMPT: Final = {"WORKER_RETRY__ATTEMPTS": "1"}


async def _publish(site: Site, tokens: list[str], lane: str = "token", **properties: Any) -> None:
    """Publish tokens with these properties of their messages, as the web tier."""
    async with await aio_pika.connect(site.urls["web"], timeout=10) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("resolution", ensure=False)
        for token in tokens:
            body = json.dumps({"version": 1, "registration_token": token}).encode()
            message = aio_pika.Message(body, content_type="application/json", **properties)
            await exchange.publish(message, lane)


@asynccontextmanager
async def _repeating(
    act: Callable[[int], Coroutine[Any, Any, None]], seconds: float
) -> AsyncIterator[None]:
    """Do something with 0, 1, 2 …, so many seconds apart, until the block ends."""

    async def go_on() -> None:
        number = 0
        while True:
            await act(number)
            number += 1
            await asyncio.sleep(seconds)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def _full_queue(site: Site, exchange: str, key: str) -> AsyncIterator[None]:
    """A queue that holds one message and refuses others, until the block ends."""
    call, vhost, name = site.broker.management.call, site.broker.vhost, f"{exchange}.full"
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue = {"durable": True, "arguments": arguments}
    await asyncio.to_thread(call, "PUT", "queues", vhost, name, body=queue)
    binding = ("bindings", vhost, "e", exchange, "q", name)
    await asyncio.to_thread(call, "POST", *binding, body={"routing_key": key})
    try:
        yield
    finally:
        await asyncio.to_thread(call, "DELETE", "queues", vhost, name)


async def _start_anew(site: Site, number: int) -> None:
    """Restart a worker that may not become ready."""
    await site.units.stop(number)
    site.units.start(number)
    await site.units.workers[number].port()


@night("one of two workers cannot be scraped", "ResolutionWorkerDown", 420, pages=0)
async def one_down(scene: Scene) -> AsyncIterator[None]:
    """The process of one of two workers stands still."""
    scene.site.units.kill(2, signal.SIGSTOP)
    yield


@night("AWS refuses one of two workers", "ResolutionReplicaRefused", 600, pages=0)
async def refused_alone(scene: Scene) -> AsyncIterator[None]:
    """One of two workers starts with a secret key that is wrong."""
    scene.site.sign_with(OUR_KEY, "another")
    await _start_anew(scene.site, 2)
    yield
    scene.site.sign_with(OUR_KEY)


@night("one of two workers has a wrong password", "ResolutionReplicaUnready", 900, pages=0)
async def unready_alone(scene: Scene) -> AsyncIterator[None]:
    """One of two workers starts with a password that the database refuses."""
    site = scene.site
    wrong = site.schema.worker.replace(site.hosts.passwords["resolution_worker"], "wrong")
    site.write("worker/postgres__dsn", wrong)
    await _start_anew(site, 2)
    yield
    site.write("worker/postgres__dsn", site.schema.worker)


@night("a bulk load that is too fast", "ResolutionQueueGrows", 2400, pages=0, faster=30)
async def queue_grows(scene: Scene) -> AsyncIterator[None]:
    """Somebody publishes more into the backlog than the rate allows, which somebody has limited."""
    site = scene.site
    limit = "resolution-worker rate 20 --actor bob --reason 'room for the other job'"
    await site.identity("on-call").run(limit)
    await _publish(site, [f"ok-bulk-{number}" for number in range(1100)], "backlog")

    async def more(number: int) -> None:
        await _publish(site, [f"ok-more-{number}-{each}" for each in range(15)], "backlog")

    async with _repeating(more, 0.5):
        yield


@night("a publisher that sets expiration", "ResolutionMessagesExpire", 900, pages=0)
async def messages_expire(scene: Scene) -> AsyncIterator[None]:
    """A script publishes a bulk load whose messages expire in the queue."""
    site = scene.site

    async def expiring(number: int) -> None:
        tokens = [f"ok-brief-{number}-{each}" for each in range(100)]
        await _publish(site, tokens, "backlog", expiration=0.01)

    async with _repeating(expiring, 1):
        yield


@night(
    "AWS fails one token",
    "ResolutionDeadLettersRedeemable",
    600,
    pages=0,
    settings=_ONE_ATTEMPT,
)
async def one_letter(scene: Scene) -> AsyncIterator[None]:
    """AWS fails a buyer's token, for which there was one attempt."""
    await scene.site.buyers.publish("fail-1-alone")
    yield


@night("a web tier that takes no answers", "ResolutionAnswersDropped", 900, pages=0)
async def answers_dropped(scene: Scene) -> AsyncIterator[None]:
    """The reply queue of a web tier is full, and refuses."""
    site = scene.site

    async def ask(number: int) -> None:
        # In the backlog, where it is no late answer to a buyer: 5 s stand for five minutes here.
        await _publish(site, [f"ok-reply-{number}"], "backlog", reply_to=f"{_REPLY}.full")

    async with _full_queue(site, "resolution.answers", f"{_REPLY}.full"), _repeating(ask, 1):
        yield


@night("a web tier that binds no queue", "ResolutionRepliesUnroutable", 1500, pages=0)
async def unroutable(scene: Scene) -> AsyncIterator[None]:
    """A web tier publishes with a key under which it has bound no queue."""
    site = scene.site

    async def ask(number: int) -> None:
        await _publish(site, [f"ok-unheard-{number}"], reply_to=f"{_REPLY}.nobody")

    async with _repeating(ask, 0.5):
        yield


@night("an observer that takes no events", "ResolutionEventsWait", 1800, pages=0)
async def events_wait(scene: Scene) -> AsyncIterator[None]:
    """The queue of somebody who observes events is full, and refuses."""
    async with _full_queue(scene.site, "resolution.events", "#"):
        yield


@night("too few connections are allowed", "ResolutionRetentionStalled", 10_000, pages=0)
async def retention_stalled(scene: Scene) -> AsyncIterator[None]:
    """Somebody allows the workers fewer connections than they have: none is left for retention."""
    await scene.site.hosts.execute("ALTER ROLE resolution_worker CONNECTION LIMIT 2")
    yield
    await scene.site.hosts.execute("ALTER ROLE resolution_worker CONNECTION LIMIT -1")


@night("a constraint of somebody's", "ResolutionRowsRefused", 300, pages=0)
async def rows_refused(scene: Scene) -> AsyncIterator[None]:
    """Somebody has added a constraint to our table, which a buyer's row does not satisfy."""
    site = scene.site
    await site.hosts.execute(
        "ALTER TABLE resolution.ledger ADD CONSTRAINT own_rule CHECK (status = 'x') NOT VALID",
        database=site.database,
    )
    await site.buyers.publish("ok-refused")
    yield
    await site.hosts.execute(
        "ALTER TABLE resolution.ledger DROP CONSTRAINT own_rule", database=site.database
    )


@night("a clock that is slow", "ResolutionClockSkew", 1500, pages=0)
async def clock_skew(scene: Scene) -> AsyncIterator[None]:
    """The clock of one worker's machine is 8 s slow, until it is set."""
    site = scene.site
    right = (site.folder / "worker.env").read_text().strip()
    slow = [f"{name}={value}" for name, value in clock("-8s").items()]
    site.write("worker.env", "\n".join((right, *slow)))
    await site.units.restart(2)
    yield
    site.write("worker.env", right)
    await site.units.restart(2)


@night("a secret that is unreadable", "ResolutionSecretsStale", 1800, pages=0)
async def secrets_stale(scene: Scene) -> AsyncIterator[None]:
    """Somebody has written nonsense into a file of the workers' secrets."""
    scene.site.write("worker/amqp__url", "to be filled in")
    yield
    scene.site.write("worker/amqp__url", scene.site.urls["worker"])


@night("a few late buyers a day", "ResolutionObjectiveSlow", 3600, pages=0)
async def objective_slow(scene: Scene) -> AsyncIterator[None]:
    """Seven of some hundred buyers are late; afterwards very many are not."""
    buyers = scene.site.buyers
    buyers.every = 0.1
    await scene.until("resolution:buyers_answered:increase1h > 150")
    await buyers.publish(*(f"slow-700-{number}" for number in range(7)))
    buyers.every = 1.0
    yield
    buyers.every = 0.05
