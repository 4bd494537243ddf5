"""URLs that can't be used and servers that answer oddly: the libraries then raise anything."""

from __future__ import annotations

import asyncio
import builtins
import ssl
from typing import TYPE_CHECKING

import aio_pika
import pytest
from aiormq import exceptions as amqp
from pamqp import commands

from tests.odd_servers import NO_CAPABILITIES, START, TUNE, answering, frame
from worker.adapters.rabbitmq import connection
from worker.adapters.rabbitmq.connection import close_quietly, open_connection
from worker.adapters.rabbitmq.consuming import ConsumingLink
from worker.adapters.rabbitmq.publishing import PublishingLink
from worker.adapters.rabbitmq.queue_watch import QueueWatch
from worker.adapters.rabbitmq.reconnecting import open_wire
from worker.adapters.rabbitmq.topology import topology
from worker.core.exceptions import BrokerLost, BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "correct-horse"


# What is said at each step of a handshake.
GREETINGS = {
    "closes": (b"",),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n",),
    "AMQP 1.0": (b"AMQP\x00\x01\x00\x00",),
    "no frame": (b"\x01\0\0\0\0\0\x04\xff\xff\xff\xff\xce",),
    "an unknown class": (b"\x01\0\0\0\0\0\x04\x00\x63\x00\x0a\xce",),
    "no way to log in": (frame(commands.Connection.Start(0, 9, {}, "", "en_US")),),
    "the wrong command": (TUNE,),
    "a refusal": (START, frame(commands.Connection.Close(403, "ACCESS_REFUSED", 0, 0))),
    "a fault of its own": (START, frame(commands.Connection.Close(541, "INTERNAL_ERROR", 0, 0))),
    "closes later": (START, TUNE),
}
URLS = {
    "two dots": f"amqp://u:{PASSWORD}@db..internal/",
    "a long label": f"amqp://u:{PASSWORD}@{'x' * 64}.internal/",
    "an encoding of nothing": f"amqp://u:{PASSWORD}@xn--/",
    "brackets": f"amqp://u:{PASSWORD}@[zz]/",
    "a scheme": f"foo://u:{PASSWORD}@h/",
    "a port": f"amqp://u:{PASSWORD}@h:99999/",
    "nothing": "",
    "a long virtual host": f"amqp://u:{PASSWORD}@127.0.0.1:{{port}}/{'v' * 300}",
    "a certificate that is none": f"amqp://u:{PASSWORD}@127.0.0.1:{{port}}/?cadata=xyz",
    "a file that is not there": f"amqps://u:{PASSWORD}@127.0.0.1:{{port}}/?cafile=/nosuch.pem",
}


async def unavailable(url: str) -> str:
    """How it is told that there is no connection; it must say what to do, and no password."""
    with pytest.raises(BrokerUnavailable) as caught:
        await open_connection(url, name="test", timeout=3)
    assert caught.value.__cause__ is caught.value.__context__ is None
    told = str(caught.value)
    assert PASSWORD not in told
    assert told.startswith("broker at ")
    assert "; " in told or "is this its AMQP port?" in told
    return told


@pytest.mark.parametrize("greeting", GREETINGS)
async def test_an_odd_greeting(greeting: str) -> None:
    """Whatever the libraries raise for what a server says, it is no connection."""
    async with answering(*GREETINGS[greeting]) as port:
        await unavailable(f"amqp://u:{PASSWORD}@127.0.0.1:{port}/")


@pytest.mark.parametrize("fault", URLS)
async def test_a_url_that_cannot_be_used(fault: str) -> None:
    """Whatever the libraries raise for a URL, it is no connection, told in words."""
    async with answering(*NO_CAPABILITIES) as port:
        await unavailable(URLS[fault].format(port=port))


def _every_kind() -> list[type[Exception]]:
    """All exceptions of Python and of the library that can be made of a text."""
    found: list[type[Exception]] = []
    for kind in [*vars(builtins).values(), *vars(amqp).values()]:
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                kind("words")
            except TypeError:
                continue
            found.append(kind)
    return found


async def test_whatever_the_library_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no exception that it could raise which is not told as no connection."""
    kinds = _every_kind()
    assert len(kinds) > 80
    for kind in kinds:

        async def connect(*_: object, kind: type[Exception] = kind, **__: object) -> None:
            raise kind("words")

        monkeypatch.setattr(aio_pika, "connect", connect)
        await unavailable("amqp://127.0.0.1/")


@pytest.mark.parametrize("kind", [OSError, ssl.SSLError, RuntimeError, KeyError])
async def test_a_file_that_changes_under_way(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    """Whatever is raised for the files of an address while it is used, it is no connection."""

    def trusting(*_: object, **__: object) -> None:
        raise kind("words")

    monkeypatch.setattr(connection, "trusting", trusting)
    await unavailable("amqps://127.0.0.1/")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_who_ends_the_program_is_heard(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    """An interrupt is no fault of the broker's."""

    async def connect(*_: object, **__: object) -> None:
        raise kind

    monkeypatch.setattr(aio_pika, "connect", connect)
    with pytest.raises(kind):
        await open_connection("amqp://127.0.0.1/", name="test")


async def test_a_cancellation_is_not_swallowed_while_connecting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A task that is cancelled ends so, even if the library raises an error of its own then."""

    async def connect(*_: object, **__: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionResetError from None

    monkeypatch.setattr(aio_pika, "connect", connect)
    task = asyncio.create_task(open_connection("amqp://127.0.0.1/", name="test"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_broker_that_names_no_capabilities() -> None:
    """What the library can't read of a broker that let us in is a loss, told without a key."""
    async with answering(*NO_CAPABILITIES) as port:
        connection = await open_connection(f"amqp://u@127.0.0.1:{port}/", name="test")
        with pytest.raises(BrokerLost, match="not foreseen: KeyError"):
            await open_wire(connection)
        await close_quietly(connection)


def publishing(url: str, report: Callable[[str | None], None]) -> PublishingLink:
    """A link to publish over."""
    return PublishingLink(lambda: url, report)


def consuming(url: str, report: Callable[[str | None], None]) -> ConsumingLink:
    """A link to consume over."""
    return ConsumingLink(
        lambda: url,
        topology({}),
        [],
        watch=QueueWatch({}),
        deliver=lambda _: None,
        lost=lambda: None,
        report=report,
        deaths=lambda: 0,
    )


@pytest.mark.parametrize("link", [publishing, consuming])
@pytest.mark.parametrize("answers", [(b"",), NO_CAPABILITIES], ids=["at first", "once connected"])
async def test_no_odd_broker_ends_a_link(
    link: Callable[[str, Callable[[str | None], None]], PublishingLink | ConsumingLink],
    answers: tuple[bytes, ...],
) -> None:
    """A link says why it is down and tries again; its task never ends by itself."""
    told: asyncio.Queue[str] = asyncio.Queue()

    def report(reason: str | None) -> None:
        if reason:
            told.put_nowait(reason)

    async with answering(*answers) as port:
        task = asyncio.create_task(link(f"amqp://u:{PASSWORD}@127.0.0.1:{port}/", report).run())
        async with asyncio.timeout(10):
            reasons = [await told.get(), await told.get()]
        assert not task.done()
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()
    assert PASSWORD not in str(reasons)
