"""The users as deployed: each can do its work on a real broker, and nothing beyond it."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers import Permissions
from worker.adapters.rabbitmq.connection import ChannelRefused, bounded, connected
from worker.adapters.rabbitmq.declaration import declare, missing, show
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.topology import topology
from worker.core.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiormq.abc import AbstractChannel as Wire

    from tests.servers import Broker

DEPLOYED = Path(__file__).parents[2] / "deploy" / "rabbitmq"
WANTED = topology({"5s": 5.0})


def permissions(user: str) -> Permissions:
    """What the deployed list gives a user."""
    lines = (DEPLOYED / "permissions").read_text().splitlines()
    (fields,) = (line.split() for line in lines if line.split()[:1] == [user])
    _, configure, write, read = fields
    return Permissions(configure=configure, write=write, read=read)


@pytest.fixture(autouse=True)
async def declared(broker: Broker) -> None:
    """The topology, declared by the user that is for it."""
    await declare(broker.user(permissions("resolution_admin")), WANTED)


class User:
    """A connection with the deployed rights of one user."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.url = broker.user(permissions(name))
        self._lost = 0

    async def publish(self, exchange: str, key: str, *, mandatory: bool = True) -> None:
        """Publish a message, confirmed."""
        async with connected(self.url, name="test") as connection:
            publisher = await Publisher.open(connection)
            await publisher.publish(Outgoing(exchange, key, b"{}", "m", mandatory=mandatory))

    async def may_not_publish(self, exchange: str, key: str) -> None:
        """The broker refuses it, for want of permission."""
        with pytest.raises(ChannelRefused, match="ACCESS_REFUSED"):
            await self.publish(exchange, key, mandatory=False)

    async def wire(self) -> AsyncIterator[Wire]:
        """A channel to ask on."""
        async with connected(self.url, name="test") as connection:
            channel = await connection.channel(publisher_confirms=False)
            yield await channel.get_underlay_channel()

    async def consume(self, queue: str) -> bytes:
        """The body of the first message that a consumer of the queue is given."""
        bodies: asyncio.Queue[bytes] = asyncio.Queue()
        async for wire in self.wire():

            async def receive(message: object) -> None:
                bodies.put_nowait(message.body)  # type: ignore[attr-defined]  # as delivered

            await bounded(wire.basic_consume(queue, receive), 5)
            async with asyncio.timeout(5):
                return await bodies.get()
        raise AssertionError

    async def may_not(self, do: str, *names: str, **options: object) -> None:
        """The broker refuses what else is asked of it."""
        async for wire in self.wire():
            with pytest.raises(ChannelRefused, match="ACCESS_REFUSED"):
                await bounded(getattr(wire, do)(*names, **options), 5)


async def no_callback(_: object) -> None:
    """Receives nothing."""


async def test_the_worker_can_do_all_it_needs(broker: Broker) -> None:
    """The worker finds its topology, reads its queues and writes its exchanges."""
    worker, owner = User(broker, "resolution_worker"), User(broker, "resolution_admin")
    async with connected(worker.url, name="test") as connection:
        assert await missing(connection, WANTED) == []
    for key, queue in {
        "token": "resolution.tokens",
        "backlog": "resolution.backlog",
        "parked": "resolution.parked",
    }.items():
        await worker.publish("resolution.internal", key)
        assert await worker.consume(queue) == b"{}"
    await worker.publish("resolution.retry.5s", "token")
    await worker.publish("resolution.replies", "resolution.reply.gone", mandatory=False)
    await worker.publish("resolution.events", "token.resolved", mandatory=False)
    rows = {row.name: row for row in await show(owner.url, WANTED) if row.kind == "queue"}
    assert rows["resolution.retry.5s"].messages == 1


async def test_the_worker_can_do_nothing_else(broker: Broker) -> None:
    """The worker can't reach any queue by the default exchange, nor play publisher or owner."""
    worker = User(broker, "resolution_worker")
    await worker.may_not_publish("", "resolution.parked")
    await worker.may_not_publish("", "amq.rabbitmq.reply-to.forged")
    await worker.may_not_publish("resolution", "token")
    await worker.may_not_publish("amq.topic", "x")
    await worker.may_not("queue_declare", "resolution.tokens.own", durable=True)
    await worker.may_not("exchange_declare", "resolution.own")
    await worker.may_not("queue_bind", "resolution.tokens", "resolution.internal", "x")
    await worker.may_not("queue_purge", "resolution.retry.5s")
    await worker.may_not("queue_delete", "resolution.tokens")


async def test_the_operator_replays_and_no_more(broker: Broker) -> None:
    """Who replays writes the worker's own exchange, and can read no token from any queue."""
    operator = User(broker, "resolution_operator")
    for key in ("token", "backlog"):
        await operator.publish("resolution.internal", key)
    await operator.may_not_publish("resolution", "token")
    await operator.may_not_publish("resolution.retry.5s", "token")
    await operator.may_not_publish("resolution.replies", "resolution.reply.x")
    await operator.may_not_publish("resolution.events", "token.resolved")
    await operator.may_not_publish("", "resolution.tokens")
    for queue in ("resolution.tokens", "resolution.backlog", "resolution.parked"):
        await operator.may_not("basic_consume", queue, consumer_callback=no_callback)
        await operator.may_not("queue_purge", queue)
    await operator.may_not("queue_declare", "resolution.own")


async def test_the_publisher_can_publish_and_no_more(broker: Broker) -> None:
    """A publisher writes the one exchange meant for it, and reads nothing."""
    publisher = User(broker, "resolution_publisher")
    await publisher.publish("resolution", "token")
    await publisher.publish("resolution", "backlog")
    await publisher.may_not_publish("resolution.internal", "token")
    await publisher.may_not_publish("resolution.retry.5s", "token")
    await publisher.may_not_publish("resolution.replies", "resolution.reply.x")
    await publisher.may_not_publish("resolution.events", "token.resolved")
    await publisher.may_not_publish("", "resolution.tokens")
    await publisher.may_not("basic_consume", "resolution.tokens", consumer_callback=no_callback)
    await publisher.may_not("queue_declare", "resolution.reply.x")


async def test_the_web_tier_gets_its_replies(broker: Broker) -> None:
    """A web tier declares a queue of its own, binds it, asks, and reads the reply."""
    web, worker = User(broker, "resolution_web"), User(broker, "resolution_worker")
    async for wire in web.wire():
        await bounded(wire.queue_declare("resolution.reply.web-1", durable=True), 5)
        await bounded(
            wire.queue_bind("resolution.reply.web-1", "resolution.replies", "resolution.reply.w"),
            5,
        )
    await web.publish("resolution", "token")
    await worker.publish("resolution.replies", "resolution.reply.w")
    assert await web.consume("resolution.reply.web-1") == b"{}"
    await web.may_not_publish("resolution.internal", "token")
    await web.may_not_publish("resolution.replies", "resolution.reply.w")
    await web.may_not("queue_declare", "other")
    for queue in ("resolution.tokens", "resolution.backlog", "resolution.parked"):
        await web.may_not("basic_consume", queue, consumer_callback=no_callback)


FAKE_RABBITMQCTL = """\
#!/bin/sh
# Knows one virtual host and one user; writes down what it is told.
case "$2" in
    list_vhosts) printf '/\\n' ;;
    list_users) printf 'guest\\t[administrator]\\nresolution_web\\t[]\\n' ;;
    add_user) printf 'add_user %s %s\\n' "$3" "$(cat)" >> "$TOLD" ;;
    *) shift; printf '%s\\n' "$*" >> "$TOLD" ;;
esac
"""


def test_the_script_applies_the_list(tmp_path: Path) -> None:
    """The script creates who is missing, keeps known passwords, and gives all the listed rights.

    What `rabbitmqctl` itself does is the broker's business: here it is a note-taker.
    """
    program = tmp_path / "bin" / "rabbitmqctl"
    program.parent.mkdir()
    program.write_text(FAKE_RABBITMQCTL)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    passwords = tmp_path / "passwords"
    passwords.mkdir()
    for user in ("resolution_worker", "resolution_web"):
        (passwords / user).write_text(f"secret of {user}\n")
    told = tmp_path / "told"
    done = subprocess.run(
        [DEPLOYED / "create-users.sh", passwords, "orders"],
        env={"PATH": f"{program.parent}:{os.environ['PATH']}", "TOLD": str(told)},
        capture_output=True,
        text=True,
        check=True,
    )
    worker, web = permissions("resolution_worker"), permissions("resolution_web")
    assert told.read_text().splitlines() == [
        "add_vhost orders",
        "add_user resolution_worker secret of resolution_worker",
        *(
            f"set_permissions -p orders {user} {rights.configure} {rights.write} {rights.read}"
            for user, rights in (("resolution_worker", worker), ("resolution_web", web))
        ),
    ]
    assert "resolution_publisher: no file" in done.stderr
    assert "secret" not in done.stdout + done.stderr


def test_the_list_can_be_read_by_broker_and_script() -> None:
    """Every line has a user and three expressions, each anchored at both ends."""
    lines = (DEPLOYED / "permissions").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert [len(row) for row in rows] == [4] * 5
    for _, *expressions in rows:
        for expression in expressions:
            assert re.fullmatch(r"\^.*\$", expression)
            re.compile(expression)
