"""One session for an operator's command; its faults are raised as `DatabaseFault`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from worker.adapters.postgres.migrate import LATEST
from worker.adapters.postgres.operator.errors import FAULTS, DatabaseFault, fault_of, place
from worker.adapters.postgres.sessions import connector, one_session
from worker.adapters.postgres.sql import load_sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from worker.adapters.postgres.sessions import Session

_SCHEMA_VERSION: Final = load_sql("schema_version")

_COMMAND_SECONDS: Final = 30.0


@asynccontextmanager
async def operating(
    dsn: Callable[[], str], *, command_seconds: float = _COMMAND_SECONDS
) -> AsyncIterator[Session]:
    """A session on a schema that is new enough.

    The driver's errors within the block are raised as `DatabaseFault` too, including time-outs and
    network errors; so do not call other servers within the block.

    Args:
        dsn: Returns the address and role.
        command_seconds: Time limit of one statement.

    Raises:
        DatabaseFault: No connection, a schema that is too old, or a failed statement.
    """
    address = dsn()
    connect = connector(lambda: address, command_seconds=command_seconds)
    try:
        async with one_session(connect) as session:
            await _require_schema(session, place(address))
            yield session
    except FAULTS as error:
        raise fault_of(error, address) from error


async def _require_schema(session: Session, where: str) -> None:
    (row,) = await session.fetch(_SCHEMA_VERSION)
    if row["version"] < LATEST:
        raise DatabaseFault(
            f"the schema is at version {row['version']}, and this program needs {LATEST}",
            "run `resolution-worker migrate`",
            where,
        )
