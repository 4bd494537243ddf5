"""The broker's and the database's host: real servers that a night may hurt."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.schema import connected
from worker.lab.servers import services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.lab.servers import Postgres, RabbitMQ

_ROLES: Final = ("resolution_migrator", "resolution_worker", "resolution_operator")
_ACCESS: Final = "host all all 127.0.0.1/32 scram-sha-256\n"  # no role comes in without a password


@dataclass(frozen=True, slots=True)
class Hosts:
    """Both servers.

    Attributes:
        passwords: Those of the database's roles, by name.
    """

    rabbitmq: RabbitMQ
    postgres: Postgres
    passwords: dict[str, str] = field(repr=False)

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the database's superuser, each for itself."""
        async with connected(self.postgres.dsn_of(database)) as connection:
            for statement in statements:
                await connection.execute(statement)

    def dsn(self, role: str, database: str) -> str:
        """A role's address, with its password."""
        return self.postgres.dsn_of(database, f"{role}:{self.passwords[role]}")


@asynccontextmanager
async def hosts() -> AsyncIterator[Hosts]:
    """Run both servers until the block ends; every role of the database has a password."""
    async with services() as running:
        passwords = {role: secrets.token_hex(16) for role in _ROLES}
        found = Hosts(running.rabbitmq, running.postgres, passwords)
        await found.execute(
            *(f"CREATE ROLE {role} LOGIN PASSWORD '{passwords[role]}'" for role in _ROLES)
        )
        (running.postgres.log.parent / "data" / "pg_hba.conf").write_text(_ACCESS)
        await found.execute("SELECT pg_reload_conf()")
        yield found
