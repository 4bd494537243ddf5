"""The client while the broker is away, refuses, loses connections, or strangers write to it."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aio_pika
import pytest

from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from resolution_client import (
    Closed,
    NotPublished,
    Observer,
    Pending,
    Resolved,
    Resolver,
    ResolverError,
)

if TYPE_CHECKING:
    from harness.installation import Installation
    from harness.programs import Worker
    from harness.servers import Broker


class Counting(Observer):
    """Counts what the client tells."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def dropped(self, kind: str) -> None:
        """As told."""
        self.told.append(("dropped", kind))

    def published(self, *, again: bool) -> None:
        """As told."""
        self.told.append(("published", again))

    def connected(self, place: str) -> None:
        """As told."""
        self.told.append(("connected", place))

    def answered(self, status: str, seconds: float) -> None:  # noqa: ARG002 - as called
        """As told."""
        self.told.append(("answered", status))


def token(word: str) -> str:
    """A token of the test's own."""
    return f"{word}-{uuid.uuid4().hex}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"port": 1}, "connection refused"),
        ({"password": "wrong"}, "user, password or virtual host are refused"),
        ({"vhost": "missing"}, "lost|refused"),
    ],
)
async def test_no_broker(stage: Installation, change: dict[str, Any], words: str) -> None:
    """Without a broker one is told within the time given that nothing is published, and why."""
    where = urlsplit(stage.web)
    password, port = change.get("password", where.password), change.get("port", where.port)
    vhost = change.get("vhost", where.path[1:])
    url = f"amqp://{where.username}:{password}@{where.hostname}:{port}/{vhost}"
    async with Resolver(url) as resolver:
        began = time.monotonic()
        with pytest.raises(NotPublished, match=words) as refused:
            await resolver.resolve(token("ok"), wait=1.5)
        assert time.monotonic() - began < 2.5
    assert str(where.password) not in str(refused.value)
    assert refused.value.__cause__ is refused.value.__context__ is None


async def test_a_silent_broker(shared_stage: Installation, shared_worker: Worker) -> None:
    """A host that accepts and says nothing is given up, the time is kept, and others are tried."""
    await shared_worker.ready()
    async with proxy_to(shared_stage.web) as proxy:
        proxy.silent = True
        async with Resolver(proxy.url) as resolver:
            began = time.monotonic()
            with pytest.raises(NotPublished):
                await resolver.resolve(token("ok"), wait=1.0)
            assert time.monotonic() - began < 2.0
        good, silent = (
            urlsplit(url).netloc.rpartition("@") for url in (shared_stage.web, proxy.url)
        )
        both = shared_stage.web.replace(good[2], f"{silent[2]},{good[2]}")
        async with Resolver(both) as resolver:
            assert isinstance(await resolver.resolve(token("ok"), wait=30), Resolved)


async def test_no_topology(broker: Broker) -> None:
    """Where the worker's exchanges are missing, the error names the command that makes them."""
    async with Resolver(broker.url, caller="shop") as resolver:
        with pytest.raises(NotPublished, match="topology declare"):
            await resolver.resolve(token("ok"), wait=2.0)


async def test_a_user_without_rights(stage: Installation) -> None:
    """A user who may not bind its replies is told that rights are missing."""
    other = stage.broker.shipped("resolution_publisher")
    async with Resolver(other) as resolver:
        with pytest.raises(NotPublished, match="rights"):
            await resolver.resolve(token("ok"), wait=2.0)


async def test_a_full_queue(stage: Installation) -> None:
    """A queue that refuses is offered the submission until the time is over."""
    body = {"pattern": r"tokens$", "definition": {"max-length": 0}, "apply-to": "queues"}
    stage.broker.management.call("PUT", "policies", stage.broker.vhost, "full", body=body)
    async with Resolver(stage.web) as resolver:

        async def refused() -> bool:
            try:
                await resolver.resolve(token("ok"), wait=1.0)
            except NotPublished as error:
                return "refuses it" in str(error)
            return False  # the policy takes a moment

        await eventually(refused, "the queue refuses")
        waiting = asyncio.create_task(resolver.resolve(token("ok"), wait=40))
        stage.broker.management.call("DELETE", "policies", stage.broker.vhost, "full")
        assert isinstance(await waiting, Pending)  # there is no worker


async def test_connections_that_are_cut(stage: Installation) -> None:
    """An answer that was sent to a connection that is gone is asked for again, and comes."""
    await stage.run()
    counting = Counting()
    async with proxy_to(stage.web) as proxy, Resolver(proxy.url, observer=counting) as resolver:
        some = [
            asyncio.create_task(resolver.resolve(token("slow-300"), wait=40)) for _ in range(40)
        ]
        for _ in range(4):
            await asyncio.sleep(0.2)
            await proxy.reset()
        for each in asyncio.as_completed(some):
            assert isinstance(await each, Resolved)
    assert ("published", True) in counting.told
    assert len([each for each in counting.told if each[0] == "connected"]) >= 2


async def test_answers_of_strangers(stage: Installation) -> None:
    """Another token's answer under one's own message id is dropped, as is junk and what is late."""
    counting = Counting()
    async with Resolver(stage.web, observer=counting) as resolver:
        waiting = asyncio.create_task(resolver.resolve(token("ok"), wait=30))
        await eventually(lambda: ("published", False) in counting.told, "it is published")
        life = resolver._link.life
        assert life is not None
        (call,) = resolver._calls._waiting.values()
        foreign = (
            f'{{"version": 1, "message_id": "{call.submission.message_id}", "status": "rejected",'
            f' "repeated": false, "token_sha256": "{"00" * 32}", "error": {{"code": "C"}},'
            ' "metadata": {}, "received_at": "2026-11-22T03:28:00Z",'
            ' "settled_at": "2026-11-22T03:28:00Z"}'
        )
        async with await aio_pika.connect(stage.broker.url) as owner:
            channel = await owner.channel()
            for body in (foreign, "{", foreign.replace(call.submission.message_id, "late")):
                message = aio_pika.Message(body.encode())
                await channel.default_exchange.publish(message, life.reply_to)
        wanted = {("dropped", kind) for kind in ("foreign", "unreadable", "late")}
        await eventually(lambda: wanted <= set(counting.told), "all three are dropped")
        await stage.run()
        assert isinstance(await waiting, Resolved)


async def test_a_caller_who_goes_away(shared_stage: Installation, shared_worker: Worker) -> None:
    """A cancelled wait ends at once and leaves nothing; the others go on."""
    await shared_worker.ready()
    async with Resolver(shared_stage.web) as resolver:
        gone = asyncio.create_task(resolver.resolve(token("hang"), wait=30))
        stays = asyncio.create_task(resolver.resolve(token("slow-200"), wait=30))
        await eventually(lambda: len(resolver._calls) == 2, "both wait")
        gone.cancel()
        assert isinstance(await stays, Resolved)
        assert gone.cancelled()
        assert len(resolver._calls) == 0


async def test_closing_tells_who_waits(shared_stage: Installation) -> None:
    """Who waits when the resolver is closed gets `Closed` at once."""
    async with Resolver(shared_stage.web) as resolver:
        waiting = asyncio.create_task(resolver.resolve(token("hang"), wait=30))
        await eventually(lambda: len(resolver._calls), "it waits")
    with pytest.raises(Closed):
        await waiting


async def test_another_event_loop(shared_stage: Installation) -> None:
    """A resolver that is used in another event loop than it was opened in says what to use."""
    async with Resolver(shared_stage.web) as resolver:
        with pytest.raises(ResolverError, match="blocking"):
            await asyncio.to_thread(asyncio.run, resolver.resolve(token("ok")))


async def test_no_log_quotes_a_token(
    shared_stage: Installation, shared_worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """With everything logged, by the libraries too, no line quotes a token or the password."""
    await shared_worker.ready()
    for name in (None, "aio_pika", "aiormq"):  # which a worker's logs may have quietened before
        caplog.set_level(logging.DEBUG, logger=name)
    canary = token("ok")
    where = urlsplit(shared_stage.web)
    password = f":{where.password}@"
    async with proxy_to(shared_stage.web) as proxy, Resolver(proxy.url) as resolver:
        for _ in range(2):
            assert isinstance(await resolver.resolve(canary, wait=30), Resolved)
            await proxy.reset()
    assert caplog.records
    assert canary not in caplog.text
    assert password not in caplog.text
    assert ":***@" in caplog.text
    assert "withheld" in caplog.text
