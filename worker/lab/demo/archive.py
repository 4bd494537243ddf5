"""What the database's views say about one run."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from worker.adapters.postgres.sessions import close_quietly, connector
from worker.core.exceptions import LedgerUnavailable
from worker.lab.demo.findings import Records
from worker.lab.servers import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.lab.demo.plan import Plan

_OUTCOMES: Final = "SELECT * FROM resolution.outcomes WHERE token_sha256 = ANY($1::bytea[])"
_AGREEMENTS: Final = """
SELECT * FROM resolution.agreements
WHERE license_arn = ANY($1::text[])
    OR (license_arn IS NULL AND customer_aws_account_id = ANY($2::text[]))
"""
_MALFORMED: Final = "SELECT * FROM resolution.malformed WHERE message_id LIKE $1"


async def records(dsn: str, plan: Plan) -> Records:
    """Read all rows of a run.

    Raises:
        ServiceError: The database can't be read.
    """
    async with _connected(dsn) as connection:
        tokens = list({one.sha256 for one in plan.submissions})
        outcomes = await connection.fetch(_OUTCOMES, tokens)
        licences = [row["license_arn"] for row in outcomes if row["license_arn"]]
        accounts = [row["customer_aws_account_id"] for row in outcomes if not row["license_arn"]]
        agreements = await connection.fetch(_AGREEMENTS, licences, accounts)
        malformed = await connection.fetch(_MALFORMED, f"{plan.run}-%")
        return Records(outcomes, agreements, malformed)


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Any]:
    try:
        connection = await connector(lambda: dsn, connect_seconds=30, command_seconds=60)()
        try:
            yield connection
        finally:
            await close_quietly(connection, 5)
    except (LedgerUnavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ServiceError(f"the account can't be read from the database: {error}") from error
