"""Brokers and databases of several hosts, and of names with several addresses."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from harness.tcp_proxy import proxy_to
from worker.adapters.postgres.sessions import connector
from worker.adapters.rabbitmq.connection import connected, open_connection
from worker.core.exceptions import BrokerUnavailable, LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from harness.servers import Broker, Database

NAME = "servers.example"


@contextmanager
def silent(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.create_server((host, port)) as server:
        yield int(server.getsockname()[1])


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let `NAME` have these addresses, in this order."""
    real: Callable[..., Any] = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: Any, **given: Any) -> list[Any]:
        if host != NAME:
            return list(real(host, port, *rest, **given))
        return [row for each in addresses for row in real(each, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context for `NAME`, and the file of the authority that vouches for it."""
    file = tmp_path_factory.mktemp("tls") / "server"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName=DNS:{NAME}"),
            *("-keyout", f"{file}.key", "-out", f"{file}.pem"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{file}.pem", f"{file}.key")
    return context, file.with_suffix(".pem")


# --- the broker ---


async def test_a_broker_of_several_hosts(broker: Broker) -> None:
    """One that is silent and one that is dead do not keep the worker from the third."""
    parts = urlsplit(broker.url)
    hosts = "127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}"
    with silent() as port:
        url = broker.url.replace(
            f"{parts.hostname}:{parts.port}", hosts.format(port, closed_port(), parts.port)
        )
        for _ in range(4):  # in random order
            async with asyncio.timeout(6), connected(url, name="test") as connection:
                assert not connection.is_closed


async def test_hosts_of_a_broker_are_tried_in_random_order(broker: Broker) -> None:
    """All nodes get their share of the connections."""
    async with proxy_to(broker.url) as one, proxy_to(broker.url) as other:
        hosts = [urlsplit(each.url).netloc.rpartition("@")[2] for each in (one, other)]
        url = one.url.replace(hosts[0], ",".join(hosts))
        while not (one.accepted and other.accepted):
            async with connected(url, name="test"):
                assert one.accepted + other.accepted < 60


async def test_a_broker_whose_name_has_several_addresses(
    broker: Broker, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is compared with the name, whichever address answers."""
    context, authority = tls
    async with proxy_to(broker.url, tls=context) as proxy:
        parts = urlsplit(proxy.url)
        assert parts.port is not None
        resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
        where = f"{parts.hostname}:{parts.port}"
        url = proxy.url.replace("amqp://", "amqps://").replace(where, f"{NAME}:{parts.port}")
        with silent("127.0.0.2", parts.port):
            for _ in range(3):
                async with asyncio.timeout(6), connected(f"{url}?cafile={authority}", name="test"):
                    pass
            resolve_to(monkeypatch, "127.0.0.2")
            with pytest.raises(BrokerUnavailable, match="no answer in time"):
                await open_connection(f"{url}?connection_timeout=500&cafile={authority}", name="t")
        by_address = proxy.url.replace("amqp://", "amqps://") + f"?cafile={authority}"
        with pytest.raises(BrokerUnavailable, match="use in the URL a host name that the cert"):
            await open_connection(by_address, name="test")
        named = f"{by_address}&server_name_indication={NAME}"
        async with connected(named, name="test") as connection:
            assert not connection.is_closed


async def test_all_reasons_of_a_broker_are_told(broker: Broker) -> None:
    """Each host has its own, and the remedy is that of the most telling."""
    parts = urlsplit(broker.url)
    refused = closed_port()
    with silent() as port:
        url = f"amqp://nobody:pw@127.0.0.1:{port},127.0.0.1:{refused},127.0.0.1:{parts.port}/"
        with pytest.raises(BrokerUnavailable) as caught:
            await open_connection(url, name="test", timeout=1.5)
    told = str(caught.value)
    assert f"127.0.0.1:{port}: no answer in time" in told
    assert f"127.0.0.1:{refused}: connection refused" in told
    assert told.endswith("; check user and password (guest may log in from loopback only)")


async def test_the_heartbeat_of_the_address_is_used(broker: Broker) -> None:
    """The word has its meaning; without it the worker's own counts."""
    for query, seconds in (("?heartbeat=7", 7), ("", 10)):
        async with connected(broker.url + query, name="test") as connection:
            wire: Any = connection.transport
            assert wire.connection.heartbeat_timeout == seconds


async def test_no_password_is_not_a_wrong_one(broker: Broker) -> None:
    """Where the address has none, that is what is told."""
    where = urlsplit(broker.url)
    with pytest.raises(BrokerUnavailable, match="the URL has no password: add that of nobody"):
        await open_connection(f"amqp://nobody@127.0.0.1:{where.port}/", name="test")


# --- the database ---


def over(dsn: str, *hosts: str, query: str = "") -> str:
    """The same address with other hosts."""
    where = urlsplit(dsn).netloc.rpartition("@")[2]
    return dsn.replace(where, ",".join(hosts)) + query


async def answer_of(dsn: str, seconds: float | None = None) -> object:
    """What a statement gives there."""
    connection = await connector(lambda: dsn, connect_seconds=seconds)()
    try:
        return await connection.fetchval("SELECT 42")
    finally:
        await connection.close()


async def test_a_database_of_several_hosts(database: Database) -> None:
    """One that is silent and one that is dead do not keep the worker from the third."""
    where = urlsplit(database.dsn).netloc.rpartition("@")[2]
    query = "?target_session_attrs=read-write&sslmode=disable"
    with silent() as port:
        hosts = (f"127.0.0.1:{port}", f"127.0.0.1:{closed_port()}", where)
        for attributes in (query, "?target_session_attrs=prefer-standby&load_balance_hosts=random"):
            assert await answer_of(over(database.dsn, *hosts, query=attributes)) == 42
        reached = over(database.dsn, *hosts, query="?target_session_attrs=standby")
        with pytest.raises(LedgerUnavailable, match="fulfils target_session_attrs"):
            await answer_of(reached, 1)


async def test_words_of_libpq_do_what_they_say(database: Database) -> None:
    """All that has a meaning at once, as providers hand addresses out, on a real server."""
    words = (
        "?connect_timeout=10&channel_binding=prefer&gssencmode=disable&load_balance_hosts=random"
        "&keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3"
        "&tcp_user_timeout=20000&target_session_attrs=primary&client_encoding=utf8&sslmode=prefer"
        "&fallback_application_name=x&application_name=web&options=-c%20statement_timeout%3D5s"
    )
    connection = await connector(lambda: database.dsn + words)()
    try:
        assert await connection.fetchval("SHOW statement_timeout") == "5s"
        assert await connection.fetchval("SHOW application_name") == "web"
        with pytest.raises(TimeoutError):  # the cancellation finds the server too
            await connection.fetchval("SELECT pg_sleep(30)", timeout=0.2)
        assert await connection.fetchval("SELECT 42") == 42
    finally:
        await connection.close()


async def test_a_database_whose_name_has_several_addresses(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent address is passed over, and the words of the socket are heeded."""
    port = urlsplit(database.dsn).port
    assert port is not None
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    dsn = over(database.dsn, f"{NAME}:{port}", query="?keepalives_idle=77&connect_timeout=4")
    with silent("127.0.0.2", port):
        connection = await connector(lambda: dsn)()
        opened = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
        await connection.close()
        resolve_to(monkeypatch, "127.0.0.2")
        short = dsn.replace("connect_timeout=4", "connect_timeout=1")
        async with asyncio.timeout(3):
            with pytest.raises(LedgerUnavailable, match="did not answer in time"):
                await answer_of(short)


@asynccontextmanager
async def encrypting(dsn: str, context: ssl.SSLContext) -> AsyncIterator[int]:
    """The port of what speaks TLS as PostgreSQL does, and plainly with the server behind it."""
    parts = urlsplit(dsn)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        try:
            await writer.start_tls(context)
        except OSError:
            writer.close()
            return
        behind = await asyncio.open_connection("127.0.0.1", parts.port)
        await asyncio.gather(_copy(reader, behind[1]), _copy(behind[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield int(server.sockets[0].getsockname()[1])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
    except OSError:
        pass
    finally:
        writer.close()


async def test_the_name_of_a_database_is_what_its_certificate_is_for(
    database: Database, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever address of the name answers; with authorities of one's own or the system's."""
    context, authority = tls
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    async with encrypting(database.dsn, context) as port:
        resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
        with silent("127.0.0.2", port):
            for words in (f"?sslmode=verify-full&sslrootcert={authority}", "?sslrootcert=system"):
                assert await answer_of(over(database.dsn, f"{NAME}:{port}", query=words)) == 42
        refused = over(database.dsn, f"127.0.0.1:{port}", query="?sslrootcert=system")
        with pytest.raises(LedgerUnavailable, match="a host name that the certificate is for"):
            await answer_of(refused)
        monkeypatch.delenv("SSL_CERT_FILE")
        unknown = over(database.dsn, f"{NAME}:{port}", query="?sslrootcert=system")
        with pytest.raises(LedgerUnavailable, match=r"sslrootcert=system\): .+do not include it"):
            await answer_of(unknown)
