"""Opening connections and waiting on them: every fault in words, no wait without an end."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from harness.connections import drop_connections
from harness.tcp_proxy import proxy_to
from worker.adapters.rabbitmq.connection import ChannelRefused, bounded, connected, open_connection
from worker.core.exceptions import BrokerLost, BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aio_pika.abc import AbstractConnection
    from aiormq.abc import AbstractChannel as Wire

    from harness.servers import Broker

PASSWORD = "correct-horse"


async def fault_of(url: str, seconds: float = 5) -> str:
    """Why a connection can't be opened."""
    with pytest.raises(BrokerUnavailable) as caught:
        await open_connection(url, name="test", timeout=seconds)
    assert PASSWORD not in repr(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    return str(caught.value)


async def wire_of(connection: AbstractConnection) -> Wire:
    """A channel to ask on."""
    channel = connection.channel(publisher_confirms=False)
    await channel.initialize()
    return await channel.get_underlay_channel()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def test_a_connection_has_a_name(broker: Broker) -> None:
    """Operators can tell from the broker's side who opened a connection."""
    name = f"resolution-worker {broker.vhost}"
    async with connected(broker.url, name=name), asyncio.timeout(10):
        while name not in broker.log.read_text():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)


async def test_nobody_listens() -> None:
    """A closed port is named with host and port."""
    port = closed_port()
    message = await fault_of(f"amqp://user:{PASSWORD}@127.0.0.1:{port}/")
    assert message.startswith(f"broker at 127.0.0.1:{port}: connection refused")


async def test_unknown_host() -> None:
    """A host name that does not exist is called that."""
    message = await fault_of(f"amqp://user:{PASSWORD}@broker.invalid/", 30)
    assert "at broker.invalid:5672: the host name broker.invalid can't be resolved" in message


async def test_wrong_password(broker: Broker) -> None:
    """A refused login is called that, and the password is not repeated."""
    where = urlsplit(broker.url)
    url = f"amqp://nobody:{PASSWORD}@{where.hostname}:{where.port}/{broker.vhost}"
    assert "login refused; check user and password" in await fault_of(url)


async def test_missing_virtual_host(broker: Broker) -> None:
    """A virtual host that is not there is what the message is about."""
    assert "the virtual host is refused" in await fault_of(broker.url + "-not")


async def test_tls_to_a_plain_port(broker: Broker) -> None:
    """TLS spoken to a port without TLS is called that."""
    assert "TLS failed" in await fault_of(broker.url.replace("amqp://", "amqps://"))


async def test_half_open_handshake() -> None:
    """A server that accepts and says nothing is given up within the bound."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        async with asyncio.timeout(3):
            message = await fault_of(f"amqp://user:{PASSWORD}@127.0.0.1:{port}/", 0.3)
    assert "no answer in time" in message


async def test_another_protocol() -> None:
    """A server that speaks something else is no broker, and no traceback."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        message = await fault_of(f"amqp://user:{PASSWORD}@127.0.0.1:{port}/", 2)
    assert message.startswith(f"broker at 127.0.0.1:{port}: ")


async def test_a_url_that_cannot_be_read() -> None:
    """An address that is none is refused in words."""
    message = await fault_of(f"amqp://user:{PASSWORD}@127.0.0.1:notaport/")
    assert "the URL has a port that is not a number" in message


async def test_bounded_gives_the_answer() -> None:
    """What comes in time is handed through."""
    assert await bounded(asyncio.sleep(0, "answer"), 5) == "answer"


async def test_bounded_ends() -> None:
    """What does not come in time is a loss."""
    with pytest.raises(BrokerLost, match=r"within 0\.01 s"):
        await bounded(asyncio.Event().wait(), 0.01)


async def test_a_bare_cancellation_is_a_loss() -> None:
    """A cancelled future in a task that nobody cancelled means that the connection went."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    with pytest.raises(BrokerLost):
        await bounded(future, 5)


async def test_a_bare_cancellation_during_clean_up_is_a_loss_too() -> None:
    """A task that was cancelled before, and now cleans up, hears of a loss as such."""
    heard = []

    async def cleaning_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            with pytest.raises(BrokerLost):
                await bounded(future, 5)
            heard.append("loss")

    task = asyncio.create_task(cleaning_up())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == ["loss"]


async def test_a_genuine_cancellation_travels_on() -> None:
    """Whoever cancels the waiting task is obeyed."""
    task = asyncio.create_task(bounded(asyncio.Event().wait(), 5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_is_not_swallowed_by_a_loss() -> None:
    """A task cancelled in the very instant of a loss ends cancelled."""

    async def both() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionResetError from None

    task = asyncio.create_task(bounded(both(), 5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def outcome(waiting: Awaitable[object]) -> BaseException:
    """What a wait on the broker ends with; it must end."""
    try:
        await bounded(waiting, 20)
    except (BrokerLost, asyncio.CancelledError) as error:
        return error
    raise AssertionError("it has an answer")


@pytest.mark.parametrize("how", ["reset", "heartbeat", "closed by the broker"])
async def test_a_connection_lost_under_a_call(broker: Broker, how: str) -> None:
    """However a connection goes, whoever waits on it hears of a loss, and is not cancelled."""
    async with proxy_to(broker.url) as proxy:
        connection = await open_connection(proxy.url, name="test", heartbeat=1)
        wire = await wire_of(connection)
        proxy.stall()
        waiting = asyncio.create_task(outcome(wire.queue_declare("absent", passive=True)))
        await asyncio.sleep(0.1)
        if how == "reset":
            await proxy.reset()
        if how == "closed by the broker":
            assert await drop_connections(broker)
            proxy.resume()
        error = await waiting
        assert type(error) in (BrokerLost, ChannelRefused)
        await asyncio.wait_for(connection.close(), 10)


@pytest.mark.parametrize(
    ("name", "code", "remedy"), [("absent", 404, "topology declare"), ("amq.x", 403, "grant")]
)
async def test_refusals_carry_code_and_remedy(
    broker: Broker, name: str, code: int, remedy: str
) -> None:
    """What the broker closes a channel over is told in its own words, with a remedy."""
    async with connected(broker.url, name="test") as connection:
        wire = await wire_of(connection)
        with pytest.raises(ChannelRefused, match=remedy) as caught:
            await bounded(wire.queue_declare(name, passive=code == 404, durable=True), 5)
    assert caught.value.code == code
    assert name in caught.value.words
