"""Addresses that can't be used and servers that answer oddly: the driver then raises anything."""

from __future__ import annotations

import asyncio
import builtins
import struct
from contextlib import suppress

import asyncpg
import pytest

from tests.fakes.ledger_suite import failed, key
from tests.odd_servers import LET_IN, NO_VERSION, READY, answering, message
from worker.adapters.postgres import migrate as migrations
from worker.adapters.postgres.errors import NotConnected
from worker.adapters.postgres.ledger.ledger import PostgresLedger
from worker.adapters.postgres.operator.errors import DatabaseFault
from worker.adapters.postgres.operator.inspection import inspecting
from worker.adapters.postgres.operator.session import operating
from worker.adapters.postgres.rate.fleet import PostgresFleet
from worker.adapters.postgres.sessions import connector
from worker.core.exceptions import LedgerUnavailable
from worker.core.rate.fleet import ReplicaState, Report
from worker.core.records import Batch

PASSWORD = "correct-horse"


VERSION = message(b"S", b"server_version\x0018.1\0")
PREPARED = message(b"1") + message(b"t", struct.pack("!h", 0))

# To who connects. What the driver raises for each is in the name.
GREETINGS = {
    "ConnectionDoesNotExistError: closes": b"",
    "ConnectionDoesNotExistError: another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "UnknownPostgresError: an error without a state": message(b"E", b"Mno\0\0"),
    "InvalidParameterValueError: a parameter": message(b"E", b"SFATAL\0C22023\0Mbad value\0\0"),
    "InterfaceError: another way to log in": message(b"R", struct.pack("!i", 2)),
    "InternalClientError: a broken log-in": message(b"R", struct.pack("!i", 5)),
    "AttributeError: no version": NO_VERSION[0],
    "ValueError: a version that is none": LET_IN + message(b"S", b"server_version\0new\0") + READY,
    "LookupError: an unknown encoding": LET_IN
    + message(b"S", b"client_encoding\0KLINGON\0")
    + READY,
    "UnicodeDecodeError: broken text": LET_IN + message(b"S", b"\xff\xfe\0\xff\0") + READY,
    "IndexError: a message too short": LET_IN + message(b"Z"),
}
# To the first statement of a session.
ANSWERS = {
    "ConnectionDoesNotExistError: closes": b"",
    "IndexError: a message too short": PREPARED + message(b"T", struct.pack("!h", 5) + b"ab"),
    "UnicodeDecodeError: broken text": PREPARED
    + message(
        b"T", struct.pack("!h", 1) + b"\xff\xfe\0" + struct.pack("!ihihih", 0, 0, 23, 4, -1, 0)
    ),
}
# The settings let none of these addresses through.
ADDRESSES = {
    "two dots": f"postgresql://u:{PASSWORD}@db..internal/x",
    "a long label": f"postgresql://u:{PASSWORD}@{'x' * 64}.internal/x",
    "brackets": f"postgresql://u:{PASSWORD}@[::1/x",
    "a port": f"postgresql://u:{PASSWORD}@h:port/x",
    "a word": f"postgresql://u:{PASSWORD}@h/x?sslmode=never",
    "a scheme": f"{PASSWORD}://h/x",
    "an empty host": f"postgresql://u:{PASSWORD}@,h/x",
}


def dsn_of(port: int) -> str:
    """The address of a server on this machine."""
    return f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/x?sslmode=disable"


async def not_connected(dsn: str) -> NotConnected:
    """How it is told that there is no connection; it must say what to do, and no password."""
    with pytest.raises(NotConnected) as caught:
        await connector(lambda: dsn, connect_seconds=5)()
    told = caught.value
    what, _, remedy = str(told).partition("; ")
    assert what
    assert remedy
    assert PASSWORD not in repr(told)
    assert told.__cause__ is told.__context__ is None
    return told


async def told_by_hand(dsn: str) -> None:
    """What people do by hand tells it in words too, each in its own way."""
    with pytest.raises(DatabaseFault) as looking:
        async with inspecting(dsn, 5) as inspector:
            await inspector.inspect()
    with pytest.raises(DatabaseFault) as acting:
        async with operating(lambda: dsn):
            pass
    with pytest.raises(LedgerUnavailable) as migrating:
        await migrations.migrate(lambda: dsn)
    for told in (looking.value.line, acting.value.line, str(migrating.value)):
        assert "; " in told
        assert PASSWORD not in told


async def told_to_the_worker(dsn: str) -> None:
    """Every call that a worker makes has the one kind of error that its loops know."""
    ledger = PostgresLedger(connector(lambda: dsn))
    fleet = PostgresFleet(connector(lambda: dsn), initial=10, ceiling=None)
    for call in (
        ledger.check(),
        ledger.find_outcomes([key("a")]),
        ledger.settle(Batch((failed("a"),))),
        fleet.lease(Report(), ReplicaState()),
        fleet.permit(),
    ):
        with pytest.raises(LedgerUnavailable) as caught:
            await call
        assert PASSWORD not in str(caught.value)
    await ledger.close()
    await fleet.close()


@pytest.mark.parametrize("fault", ADDRESSES)
async def test_an_address_that_cannot_be_used(fault: str) -> None:
    """An address that is none never reaches the driver, and is told with the remedy."""
    dsn = ADDRESSES[fault]
    told = await not_connected(dsn)
    assert str(told).startswith("the address ")
    assert "WORKER_POSTGRES__DSN" in str(told)
    await told_by_hand(dsn)
    await told_to_the_worker(dsn)


@pytest.mark.parametrize("raises", GREETINGS)
async def test_an_odd_greeting(raises: str) -> None:
    """Whatever the driver raises for what a server says first, it is no connection."""
    async with answering(GREETINGS[raises]) as port:
        dsn = dsn_of(port)
        told = await not_connected(dsn)
        assert type(told.error).__name__ == raises.partition(":")[0]
        await told_by_hand(dsn)
        await told_to_the_worker(dsn)


@pytest.mark.parametrize("raises", [name for name in GREETINGS if "closes" not in name])
async def test_no_connection_is_left_open(raises: str) -> None:
    """However connecting fails, the server sees the connection end: none costs a descriptor."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(GREETINGS[raises])
        with suppress(OSError):
            while await reader.read(65_536):
                pass
        writer.close()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        dsn = f"postgresql://u@127.0.0.1:{port}/x?sslmode=disable"
        with pytest.raises(NotConnected):
            await connector(lambda: dsn, connect_seconds=0.3)()
        async with asyncio.timeout(5):
            await ended.wait()


@pytest.mark.parametrize("raises", ANSWERS)
async def test_an_odd_answer(raises: str) -> None:
    """Whatever the driver raises for the answer to a statement ends that call alone, in words."""
    async with answering(LET_IN + VERSION + READY, ANSWERS[raises]) as port:
        dsn = dsn_of(port)
        assert await _raised(dsn) == raises.partition(":")[0]
        await told_by_hand(dsn)
        await told_to_the_worker(dsn)


async def _raised(dsn: str) -> str:
    """What the driver itself makes of the answer to a statement."""
    connection = await connector(lambda: dsn)()
    try:
        await connection.fetch("SELECT")
    except Exception as error:  # noqa: BLE001 - that is the question
        return type(error).__name__
    finally:
        connection.terminate()
    return ""


def _every_kind() -> list[type[Exception]]:
    """All exceptions of Python and of the driver that can be made of a text."""
    found: list[type[Exception]] = []
    for name, kind in [*vars(builtins).items(), *vars(asyncpg.exceptions).items()]:
        if isinstance(kind, type) and issubclass(kind, Exception) and not name.startswith("_"):
            try:
                kind(PASSWORD)
            except TypeError:
                continue
            found.append(kind)
    return found


async def test_whatever_the_driver_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no exception that it could raise which is not told as no connection."""
    kinds = _every_kind()
    assert len(kinds) > 200
    for kind in kinds:

        async def connect(*_: object, kind: type[Exception] = kind, **__: object) -> None:
            raise kind("words")

        monkeypatch.setattr(asyncpg, "connect", connect)
        told = await not_connected("postgresql://127.0.0.1/x")
        assert type(told.error) is kind or kind is StopIteration


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
async def test_who_ends_the_program_is_heard(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    """A cancellation or an interrupt is no fault of the database."""

    async def connect(*_: object, **__: object) -> None:
        raise kind

    monkeypatch.setattr(asyncpg, "connect", connect)
    with pytest.raises(kind):
        await connector(lambda: "postgresql://127.0.0.1/x")()


async def test_a_call_that_is_cancelled_while_connecting_ends_so() -> None:
    """A server that never answers does not keep a genuine cancellation from its task."""
    reached, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()
        writer.close()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, asyncio.timeout(5):
        port = server.sockets[0].getsockname()[1]
        dsn = f"postgresql://u@127.0.0.1:{port}/x?sslmode=disable"
        call = asyncio.ensure_future(connector(lambda: dsn)())
        await reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await ended.wait()
