"""A private PgBouncer in transaction mode, as a shop puts one before its database."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worker.lab.servers.ports import LOOPBACK, accepts, free_ports
from worker.lab.servers.privilege import Sandbox, sandbox
from worker.lab.servers.server import Server, ServerSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

# Few servers, so that successive transactions of one client do fall on different ones.
_POOL_SIZE = 4
_CONFIGURATION = """\
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr = {loopback}
listen_port = {own}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
server_round_robin = 1
"""


@dataclass(frozen=True, slots=True)
class PgBouncer:
    """A PgBouncer that runs.

    Attributes:
        port: Its TCP port on the loopback interface.
        log: What it says.
    """

    port: int
    log: Path

    def before(self, dsn: str) -> str:
        """The address of the same role and database, through it."""
        return dsn.replace(f":{urlsplit(dsn).port}/", f":{self.port}/")


@asynccontextmanager
async def pgbouncer(directory: Path, dsn: str, *roles: str) -> AsyncIterator[PgBouncer]:
    """Run one before a server of this machine until the block ends.

    Args:
        directory: A place for its configuration and log.
        dsn: Any address of the server.
        roles: Who may come in.
    """
    assert PROGRAM is not None
    programs = directory / "installation" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(PROGRAM, programs)
    # It does not run as root either.
    with sandbox(directory / "home", programs.parent) as place:
        (own,) = free_ports(1)
        server = Server(_spec(place, own, _configured(place.home, own, dsn, roles)))
        await server.start(within=10)
        try:
            yield PgBouncer(own, place.home / "pgbouncer.log")
        finally:
            server.end()


def _configured(home: Path, own: int, dsn: str, roles: tuple[str, ...]) -> Path:
    where = urlsplit(dsn)
    users, configuration = home / "users.txt", home / "pgbouncer.ini"
    users.write_text("".join(f'"{role}" ""\n' for role in roles), encoding="utf-8")
    text = _CONFIGURATION.format(
        host=where.hostname,
        port=where.port,
        loopback=LOOPBACK,
        own=own,
        users=users,
        pool_size=_POOL_SIZE,
    )
    configuration.write_text(text, encoding="utf-8")
    return configuration


def _spec(place: Sandbox, own: int, configuration: Path) -> ServerSpec:
    async def ready(_: int) -> bool:
        return await accepts(own)

    return ServerSpec(
        name="PgBouncer",
        command=[str(place.binaries / "pgbouncer"), str(configuration)],
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        log=place.home / "pgbouncer.log",
        ready=ready,
        prefix=place.prefix,
    )
