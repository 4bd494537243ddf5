"""What a person at a command is told of a database that can't be asked."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from worker.adapters.postgres.errors import translate
from worker.adapters.postgres.operator.errors import DatabaseFault, fault_of, told, told_operator
from worker.adapters.postgres.operator.inspection import inspecting
from worker.adapters.postgres.operator.session import operating

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = "the-password"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own authority, for `localhost`, and its key, in one file."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    subprocess.run(
        [
            *("openssl", *words.split()),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(file), "-out", f"{file}.c"),
        ],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + file.with_name("server.pem.c").read_text())
    return file


@asynccontextmanager
async def server(certificate: Path | None) -> AsyncIterator[int]:
    """The port of a server that goes as far as TLS, or refuses it where it has no certificate."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(8)
            writer.write(b"S" if context else b"N")
            if context:
                await writer.start_tls(context)
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        yield int(listening.sockets[0].getsockname()[1])


async def fault(host: str, port: int, query: str) -> DatabaseFault:
    """What connecting comes to; `check` and `status` do it one way, `rate` the other."""
    dsn = f"postgresql://u:{SECRET}@{host}:{port}/d?{query}"
    with pytest.raises(DatabaseFault) as looking:
        async with inspecting(dsn, 5):
            pass
    with pytest.raises(DatabaseFault) as acting:
        async with operating(lambda: dsn):
            pass
    assert looking.value.line == acting.value.line
    assert SECRET not in looking.value.line
    assert looking.value.place == f"{host}:{port}"
    return looking.value


async def test_an_authority_that_nobody_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify-full` alone needs a file that is seldom there: it is named, and what to add."""
    monkeypatch.setenv("HOME", str(tmp_path))
    found = await fault("127.0.0.1", 1, "sslmode=verify-full")
    assert ".postgresql/root.crt" in found.what
    assert "sslrootcert=system" in found.remedy


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslcrl"])
async def test_a_file_that_is_not_there(name: str, certificate: Path) -> None:
    """A missing file of the address is named, with the parameter that names it."""
    query = f"sslmode=verify-full&{name}=/nosuch.pem"
    found = await fault("127.0.0.1", 1, query)
    why = "can't be read: No such file or directory"
    assert found.what == f"the address names {name} /nosuch.pem, which {why}"
    assert found.remedy.startswith("correct WORKER_POSTGRES__DSN")


async def test_a_file_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment names the missing file, its variable is to be corrected."""
    monkeypatch.setenv("PGSSLROOTCERT", "/nosuch.pem")
    found = await fault("127.0.0.1", 1, "sslmode=verify-full")
    assert found.remedy == "correct PGSSLROOTCERT"


async def test_a_file_that_holds_no_certificate(tmp_path: Path) -> None:
    """A file that is no certificate is not taken for a fault of the server."""
    file = tmp_path / "root.pem"
    file.write_text("nothing\n")
    found = await fault("127.0.0.1", 1, f"sslmode=verify-full&sslrootcert={file}")
    assert found.what == f"the address names sslrootcert {file}, which holds no certificate"


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_without_tls(mode: str, certificate: Path) -> None:
    """A server that speaks no TLS is named as such, whatever the mode that wants it."""
    async with server(None) as port:
        found = await fault("127.0.0.1", port, f"sslmode={mode}&sslrootcert={certificate}")
    assert found.what == "the server does not support TLS"
    assert "`ssl = on`" in found.remedy


async def test_names_and_authorities_are_told_apart(certificate: Path) -> None:
    """A certificate for another name is one thing, one of an unknown authority another."""
    async with server(certificate) as port:
        query = f"sslmode=verify-full&sslrootcert={certificate}"
        name = await fault("127.0.0.1", port, query)
        query = "sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"
        authority = await fault("localhost", port, query)
    assert "IP address mismatch" in name.what
    assert "host name that the certificate is for" in name.remedy
    assert "self-signed certificate" in authority.what
    assert "sslrootcert" in authority.remedy


def test_a_person_is_not_told_what_the_worker_does() -> None:
    """A one-off command does not try again by itself, and says so."""
    said = str(translate(TimeoutError()))
    assert re.search(r"did not answer in time; if it lasts, .+firewall", said)
    assert re.search(r"did not answer in time; run it again; if it lasts, .+firewall", told(said))


def test_who_may_do_it_is_told() -> None:
    """What only operators may do names their role, for grants are not what is amiss."""
    refused = asyncpg.PostgresError.new({"C": "42501", "M": "permission denied for table replay"})
    assert "connect as resolution_operator" in told_operator(str(translate(refused)))
    assert "connect as resolution_operator" in told_operator(fault_of(refused).line)
    assert "resolution_operator" not in fault_of(refused).line
