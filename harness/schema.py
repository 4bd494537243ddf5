"""A database as an operator prepares it: the roles, the migrations, the grants."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from worker.adapters.postgres.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.servers import Database

_SCRIPTS = Path(__file__).parents[1] / "deploy" / "postgres"


@dataclass(frozen=True, slots=True)
class Schema:
    """A migrated database and the addresses of those who use it.

    Attributes:
        superuser: May do anything: for what a test looks at or breaks.
        migrator: The schema's owner.
        worker: May do what the worker needs, and no more.
        operator: May do what people on call need, and no more.
    """

    superuser: str
    migrator: str
    worker: str
    operator: str

    async def rows(self, sql: str, *arguments: object) -> list[Any]:
        """What a query returns to the superuser."""
        async with connected(self.superuser) as connection:
            found: list[Any] = await connection.fetch(sql, *arguments)
            return found

    async def execute(self, sql: str) -> None:
        """Run a script as superuser."""
        async with connected(self.superuser) as connection:
            await connection.execute(sql)


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Any]:
    """One connection, closed at the end."""
    connection = await asyncpg.connect(dsn, timeout=30, command_timeout=60)
    try:
        yield connection
    finally:
        await connection.close()


async def run_script(dsn: str, name: str) -> None:
    """Run a file of `deploy/postgres` as whoever the address names."""
    async with connected(dsn) as connection:
        await connection.execute((_SCRIPTS / name).read_text(encoding="utf-8"))


def addresses(database: Database) -> Schema:
    """The addresses of a database that may still be empty."""
    roles = ("resolution_migrator", "resolution_worker", "resolution_operator")
    return Schema(database.dsn, *map(database.dsn_of, roles))


async def prepare(database: Database, *, stand_in: bool = True) -> Schema:
    """Do to an empty database what the operator's handbook says, for a simulator or for AWS."""
    return await set_up(addresses(database), stand_in=stand_in)


async def set_up(schema: Schema, *, stand_in: bool = True) -> Schema:
    """As `prepare`, with addresses that may hold passwords."""
    await run_script(schema.superuser, "roles.sql")
    await migrate(lambda: schema.migrator, stand_in=stand_in)
    await run_script(schema.migrator, "grants.sql")
    await run_script(schema.migrator, "revoke.sql")
    return schema
