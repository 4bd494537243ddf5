"""The users as deployed: each can do its work on a real broker, and nothing beyond it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from harness.servers import BrokerServer, rabbitmq_home, reply_key
from worker.adapters.rabbitmq.connection import ChannelRefused, bounded, connected
from worker.adapters.rabbitmq.declaration import declare, missing, show
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.topology import STATE, topology
from worker.core.token.outgoing import ANSWERS, Outgoing
from worker.lab.servers import rabbitmq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiormq.abc import AbstractChannel as Wire

    from harness.servers import Broker
    from worker.lab.servers import RabbitMQ

DEPLOYED = Path(__file__).parents[3] / "deploy" / "rabbitmq"
WANTED = topology({"5s": 5.0})


class User:
    """A connection with the deployed rights of one user."""

    def __init__(self, broker: Broker, line: str) -> None:
        self.url = broker.shipped(line)

    def key(self, unique: str) -> str:
        """A key of this caller's."""
        return reply_key(self.url, unique)

    @property
    def name(self) -> str:
        """The user's name."""
        return urlsplit(self.url).username or ""

    async def publish(
        self, exchange: str, key: str, *, mandatory: bool = True, user_id: str | None = None
    ) -> None:
        """Publish a message, confirmed."""
        async with connected(self.url, name="test") as connection:
            publisher = await Publisher.open(connection)
            message = Outgoing(exchange, key, b"{}", "m", user_id=user_id, mandatory=mandatory)
            await publisher.publish(message)

    async def may_not_publish(self, exchange: str, key: str) -> None:
        """The broker refuses it, for want of permission."""
        with pytest.raises(ChannelRefused, match="ACCESS_REFUSED"):
            await self.publish(exchange, key, mandatory=False)

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        """A channel to ask on."""
        async with connected(self.url, name="test") as connection:
            channel = await connection.channel(publisher_confirms=False)
            yield await channel.get_underlay_channel()

    async def hears(self, exchange: str, key: str, queue: str | None = None) -> str:
        """Declare a queue of its own and bind it under a key; its name."""
        name = queue or self.key("queue")
        async with self.wire() as wire:
            await bounded(wire.queue_declare(name, durable=True), 5)
            await bounded(wire.queue_bind(name, exchange, key), 5)
        return name

    async def may_not_hear(self, exchange: str, *keys: str) -> None:
        """The broker does not let it bind a queue of its own under any of these."""
        for key in keys:
            with pytest.raises(ChannelRefused, match="ACCESS_REFUSED"):
                await self.hears(exchange, key)

    async def consume(self, queue: str) -> bytes:
        """The body of the first message that a consumer of the queue is given."""
        bodies: asyncio.Queue[bytes] = asyncio.Queue()
        async with self.wire() as wire:

            async def receive(message: object) -> None:
                bodies.put_nowait(message.body)  # type: ignore[attr-defined]  # as delivered

            await bounded(wire.basic_consume(queue, receive), 5)
            async with asyncio.timeout(5):
                return await bodies.get()

    async def may_not(self, do: str, *names: str, **options: object) -> None:
        """The broker refuses what else is asked of it."""
        async with self.wire() as wire:
            with pytest.raises(ChannelRefused, match="ACCESS_REFUSED"):
                await bounded(getattr(wire, do)(*names, **options), 5)


async def no_callback(_: object) -> None:
    """Receives nothing."""


async def declared(broker: Broker) -> None:
    """Declare the topology as the user that is for it."""
    await declare(broker.shipped("resolution_admin"), WANTED)


async def the_worker_can_do_all_it_needs(broker: Broker) -> None:
    """The worker finds its topology, reads its queues and writes its exchanges."""
    worker, owner = User(broker, "resolution_worker"), User(broker, "resolution_admin")
    async with connected(worker.url, name="test") as connection:
        assert await missing(connection, WANTED) == []
    for key, queue in {
        "token": "resolution.tokens",
        "backlog": "resolution.backlog",
        "crowd": "resolution.crowd",
        "parked": "resolution.parked",
    }.items():
        await worker.publish("resolution.internal", key)
        assert await worker.consume(queue) == b"{}"
    await worker.publish("resolution.retry.5s", "token")
    await worker.publish(ANSWERS, "resolution.reply.gone", mandatory=False)
    await worker.publish(ANSWERS, "resolution.reply.a b.\u00e9*#", mandatory=False)
    await worker.publish("resolution.events", "token.resolved", mandatory=False)
    await worker.publish(STATE, "", mandatory=False)
    rows = {row.name: row for row in await show(owner.url, WANTED) if row.kind == "queue"}
    assert rows["resolution.retry.5s"].messages == 1


async def the_worker_can_do_nothing_else(broker: Broker) -> None:
    """The worker can't reach any queue by the default exchange, nor play publisher or owner."""
    worker = User(broker, "resolution_worker")
    await worker.may_not_publish("", "resolution.parked")
    await worker.may_not_publish("", "amq.rabbitmq.reply-to.forged")
    await worker.may_not_publish("resolution", "token")
    await worker.may_not_publish("amq.topic", "x")
    await worker.may_not("queue_declare", "resolution.tokens.own", durable=True)
    await worker.may_not("exchange_declare", "resolution.own")
    await worker.may_not("queue_bind", "resolution.tokens", "resolution.internal", "x")
    await worker.may_not("queue_bind", "resolution.tokens", ANSWERS, "resolution.reply.x")
    await worker.may_not("queue_bind", "resolution.tokens", STATE, "")
    await worker.may_not("queue_delete", "resolution.tokens")


async def the_operator_replays_and_no_more(broker: Broker) -> None:
    """Who replays writes the worker's own exchange, and can read no token from any queue."""
    operator = User(broker, "resolution_operator")
    for key in ("token", "backlog"):
        await operator.publish("resolution.internal", key)
    await operator.may_not_publish("resolution", "token")
    await operator.may_not_publish("resolution.retry.5s", "token")
    await operator.may_not_publish(ANSWERS, "resolution.reply.x")
    await operator.may_not_publish("resolution.events", "token.resolved")
    await operator.may_not_publish("", "resolution.tokens")
    for queue in ("resolution.tokens", "resolution.crowd", "resolution.parked"):
        await operator.may_not("basic_consume", queue, consumer_callback=no_callback)
        await operator.may_not("queue_purge", queue)
    await operator.may_not("queue_declare", "resolution.own")


async def the_publisher_can_publish_and_no_more(broker: Broker) -> None:
    """A publisher writes the one exchange meant for it, and reads nothing."""
    publisher = User(broker, "resolution_publisher")
    await publisher.publish("resolution", "token")
    await publisher.publish("resolution", "backlog")
    await publisher.may_not_publish("resolution.internal", "token")
    await publisher.may_not_publish("resolution.retry.5s", "token")
    await publisher.may_not_publish(ANSWERS, "resolution.reply.x")
    await publisher.may_not_publish("resolution.events", "token.resolved")
    await publisher.may_not_publish("", "resolution.tokens")
    await publisher.may_not("basic_consume", "resolution.tokens", consumer_callback=no_callback)
    await publisher.may_not("queue_declare", "resolution.reply.x")


async def a_caller_gets_its_replies(broker: Broker) -> None:
    """A web tier declares a queue of its own, binds it, asks, and reads the reply."""
    web, worker = User(broker, "CALLER"), User(broker, "resolution_worker")
    queue = await web.hears(ANSWERS, web.key("w"))
    every = await web.hears(ANSWERS, web.key("#"), web.key("every"))
    await web.publish("resolution", "token")
    await worker.publish(ANSWERS, web.key("w"))
    assert await web.consume(queue) == b"{}"
    assert await web.consume(every) == b"{}"
    await web.may_not_publish("resolution.internal", "token")
    await web.may_not_publish(ANSWERS, web.key("w"))
    await web.may_not("queue_declare", "other")
    for lane in ("resolution.tokens", "resolution.crowd", "resolution.parked"):
        await web.may_not("basic_consume", lane, consumer_callback=no_callback)


async def a_caller_can_hear_no_others_replies(broker: Broker) -> None:
    """Of two web tiers neither can bind the other's keys, read its queue, or bind them all."""
    one, other = User(broker, "CALLER"), User(broker, "CALLER")
    queue = await one.hears(ANSWERS, one.key("w"))
    await other.may_not_hear(
        ANSWERS,
        one.key("w"),
        one.key("#"),
        "#",
        "resolution.#",
        "resolution.reply.#",
        "resolution.reply.*.w",
        f"#.{other.key('w')}",
        f"{other.key('w')[:-2]}*.w",  # a longer name that begins like its own
    )
    await other.may_not("basic_consume", queue, consumer_callback=no_callback)
    await other.may_not("queue_declare", one.key("another"), durable=True)
    await other.may_not("queue_bind", queue, ANSWERS, other.key("w"))
    async with other.wire() as wire:  # nor by an exchange of its own in between
        await bounded(wire.exchange_declare(other.key("exchange"), exchange_type="fanout"), 5)
    for key in ("#", one.key("w")):
        await other.may_not("exchange_bind", other.key("exchange"), ANSWERS, key)


async def a_caller_hears_how_calls_stand(broker: Broker) -> None:
    """A web tier hears what workers say of their calls; nobody but a worker can say it."""
    web, worker = User(broker, "CALLER"), User(broker, "resolution_worker")
    queue = await web.hears(STATE, "")
    await worker.publish(STATE, "")
    assert await web.consume(queue) == b"{}"
    for line in ("CALLER", "resolution_operator", "resolution_publisher"):
        await User(broker, line).may_not_publish(STATE, "")


async def a_caller_signs_with_its_own_name_only(broker: Broker) -> None:
    """The broker takes a submission under the caller's own `user_id`, and under no other."""
    web, other = User(broker, "CALLER"), User(broker, "CALLER")
    await web.publish("resolution", "token", user_id=web.name)
    with pytest.raises(ChannelRefused, match="PRECONDITION_FAILED"):
        await web.publish("resolution", "token", user_id=other.name)


async def a_caller_keeps_all_its_answers(broker: Broker) -> None:
    """A caller has a durable queue of all its answers, and one of those that found no room."""
    web, worker = User(broker, "CALLER"), User(broker, "resolution_worker")
    queue = await _settled(web)
    dropped = await web.hears(f"{queue}.dropped", "", web.key("settled.shop.counted"))
    for number in range(3):
        await worker.publish(ANSWERS, web.key(f"life.{number}"))
    assert await web.consume(dropped) == b"{}"
    assert await web.consume(queue) == b"{}"


async def a_caller_can_not_have_what_another_keeps(broker: Broker) -> None:
    """Another caller can neither read, purge, bind nor delete them, nor have what is dropped."""
    one, other = User(broker, "CALLER"), User(broker, "CALLER")
    queue = await _settled(one)
    await other.may_not("basic_consume", queue, consumer_callback=no_callback)
    for what in ("queue_purge", "queue_delete"):
        await other.may_not(what, queue)
    await other.may_not("exchange_delete", f"{queue}.dropped")
    await other.may_not("queue_bind", queue, ANSWERS, other.key("#"))
    await other.may_not_hear(f"{queue}.dropped", "")
    await other.may_not_publish(f"{queue}.dropped", "")
    letters = {"x-dead-letter-exchange": f"{queue}.dropped"}
    await other.may_not("queue_declare", other.key("w"), durable=True, arguments=letters)


async def _settled(web: User) -> str:
    """Declare a caller's queue of all its answers, with room for two; its name."""
    queue = web.key("settled.shop")
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-max-length": 2,
        "x-overflow": "drop-head",
        "x-dead-letter-exchange": f"{queue}.dropped",
    }
    async with web.wire() as wire:
        exchange = wire.exchange_declare(f"{queue}.dropped", exchange_type="fanout", durable=True)
        await bounded(exchange, 5)
        await bounded(wire.queue_declare(queue, durable=True, arguments=arguments), 5)
        await bounded(wire.queue_bind(queue, ANSWERS, web.key("#")), 5)
        await bounded(wire.queue_purge(queue), 5)
    return queue


async def the_exchange_before_has_replies_too(broker: Broker) -> None:
    """Where replies went to `resolution.replies`, who is bound there still gets its own, once."""
    web, worker = User(broker, "CALLER"), User(broker, "resolution_worker")
    async with connected(broker.url, name="test") as connection:
        channel = await connection.channel()
        await channel.declare_exchange("resolution.replies", "direct", durable=True)
    queue = await web.hears("resolution.replies", web.key("w"))
    done = await declare(broker.shipped("resolution_admin"), WANTED)
    assert done[-1].name == "resolution.answers -#-> resolution.replies"
    await web.hears(ANSWERS, web.key("w"))  # bound to both: no answer comes twice
    await worker.publish(ANSWERS, web.key("w"), mandatory=True)
    await worker.publish("resolution.replies", web.key("w"), mandatory=True)  # an older worker
    found = broker.management.call("GET", "queues", broker.vhost, queue)["name"]
    assert [await web.consume(found) for _ in range(2)] == [b"{}"] * 2
    async with web.wire() as wire:
        assert (await wire.queue_declare(queue, passive=True)).message_count == 2


async def a_new_installation_has_one_exchange_for_replies(broker: Broker) -> None:
    """Nothing makes the exchange of the release before."""
    names = [row.name for row in await show(broker.url, WANTED)]
    assert ANSWERS in names
    exchanges = broker.management.call("GET", "exchanges", broker.vhost)
    assert "resolution.replies" not in {each["name"] for each in exchanges}


class Done(NamedTuple):
    """How a program ended."""

    code: int
    said: str


class Script:
    """`create-users.sh`, where `rabbitmqctl` reaches a broker."""

    def __init__(self, broker: RabbitMQ, folder: Path) -> None:
        # Nothing but this one of the broker's programs, which find one another by themselves.
        program = folder / "bin" / "rabbitmqctl"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{broker.programs}/rabbitmqctl" "$@"\n')
        program.chmod(0o755)
        self._environment = {**broker.environment}
        self._environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
        self._folder = folder

    async def run(
        self, *words: str, files: tuple[str, ...], word: str = "secret", suffix: str = ""
    ) -> Done:
        """Run it with passwords for these users."""
        passwords = self._folder / uuid.uuid4().hex
        passwords.mkdir()
        for user in files:
            (passwords / user).write_text(f"{word} of {user}\n")
        process = await asyncio.create_subprocess_exec(
            DEPLOYED / "create-users.sh",
            passwords,
            *words,
            env=self._environment | {"SUFFIX": suffix},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return Done(process.returncode or 0, said.decode())


SCENARIOS = (
    the_worker_can_do_all_it_needs,
    the_worker_can_do_nothing_else,
    the_operator_replays_and_no_more,
    the_publisher_can_publish_and_no_more,
    a_caller_gets_its_replies,
    a_caller_can_hear_no_others_replies,
    a_caller_hears_how_calls_stand,
    a_caller_signs_with_its_own_name_only,
    a_caller_keeps_all_its_answers,
    a_caller_can_not_have_what_another_keeps,
    the_exchange_before_has_replies_too,
    a_new_installation_has_one_exchange_for_replies,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_rights_as_deployed(broker: Broker, scenario: Scenario) -> None:
    """Each user can do its work and nothing beyond, on the series that all tests run on."""
    await declared(broker)
    await scenario(broker)


@pytest.mark.parametrize("series", ["4.3"])
@pytest.mark.long
async def test_rights_as_deployed_on_a_later_series(series: str, tmp_path: Path) -> None:
    """The same on a later series."""
    async with rabbitmq(tmp_path / "server", home=rabbitmq_home(series)) as running:
        server = BrokerServer(running.amqp_url, running.management, running.log)
        for scenario in SCENARIOS:
            with server.broker() as broker:
                await declared(broker)
                await scenario(broker)


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Scenario = Callable[[Broker], Awaitable[None]]


@pytest.mark.parametrize("series", ["3.10", "4.0", "4.3"])
@pytest.mark.long
async def test_the_script_applies_the_lists(series: str, tmp_path: Path) -> None:
    """The script creates who is missing, keeps known passwords, and gives all the listed rights."""
    async with rabbitmq(tmp_path / "server", home=rabbitmq_home(series)) as broker:
        script = Script(broker, tmp_path)
        done = await script.run("orders", "shop", "club", files=("resolution_worker", "shop"))
        assert "resolution_publisher: no file" in done.said
        assert "club: no file" in done.said
        assert done.code == 0, done.said
        assert "secret" not in done.said
        call = broker.management.call
        assert {each["user"] for each in call("GET", "vhosts", "orders", "permissions")} == {
            "resolution_worker",
            "shop",
        }
        shop = call("GET", "permissions", "orders", "shop")
        assert shop["configure"] == r"^resolution\.reply\.shop\..+$"
        assert shop["write"] == r"^resolution(\.reply\.shop\..+)?$"
        (topic,) = call("GET", "topic-permissions", "orders", "shop")
        assert (topic["exchange"], topic["write"], topic["read"]) == (
            ANSWERS,
            "^$",
            r"^resolution\.reply\.shop\.",
        )
        assert await broker.ctl("authenticate_user", "shop", "secret of shop")

        again = await script.run("orders", "shop", files=("shop",))
        assert again.code == 0, again.said

        other = await script.run("orders", "shop", files=("shop",), word="another")
        assert other.code == 1
        assert "shop: its password differs" in other.said

        staging = await script.run("staging", "shop", files=("resolution_worker", "shop"))
        assert staging.code == 1
        assert "shop: has rights in another virtual host" in staging.said
        assert call("GET", "vhosts", "staging", "permissions") == []

        own = await script.run(
            "staging",
            "shop",
            files=("resolution_worker_staging", "shop_staging"),
            suffix="_staging",
        )
        assert own.code == 0, own.said
        assert call("GET", "permissions", "staging", "shop_staging")["configure"] == (
            r"^resolution\.reply\.shop_staging\..+$"
        )


@pytest.mark.parametrize("caller", ["a.b", "a*", "a b", "(a)", "a/b", "$a"])
def test_a_name_that_means_something_in_an_expression_is_refused(
    caller: str, tmp_path: Path
) -> None:
    """It would give a caller the keys of others; nothing is done at all."""
    done = subprocess.run(
        [DEPLOYED / "create-users.sh", tmp_path, "/", caller],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "a caller's name may contain only letters, digits, _ and -" in done.stderr


def test_the_lists_can_be_read_by_broker_and_script() -> None:
    """Every line has a user and its expressions, each anchored at its beginning."""
    for file, columns in (("permissions", 4), ("topic-permissions", 4)):
        lines = (DEPLOYED / file).read_text().splitlines()
        rows = [line.split() for line in lines if not line.startswith("#")]
        assert rows
        for row in rows:
            assert len(row) == columns
            for expression in row[2 if file.startswith("topic") else 1 :]:
                assert expression.startswith("^")
                re.compile(expression)
