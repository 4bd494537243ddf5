"""Checks that a database is marked as a playground, for the made-up customers of a simulator.

Any server that answers at an unencrypted endpoint can create customers. So with such an endpoint
every new connection is refused unless the database itself is marked as a playground: an address of
another database, by mistake or after a rotation of secrets, is detected before anything is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

from worker.adapters.postgres import fitness
from worker.adapters.postgres.errors import Diagnosis, driven, translated_without_rows
from worker.adapters.postgres.sql import load_sql
from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from worker.adapters.postgres.sessions import Connect, Connection


_STAND_IN: Final = load_sql("stand_in")


class NotAStandIn(LedgerUnavailable):
    """The database is not marked as a playground, and the endpoint is not proven to be AWS."""

    def __init__(self, endpoint: str, named_by: str) -> None:
        super().__init__("; ".join(not_marked(endpoint, named_by)))


def not_marked(endpoint: str, named_by: str) -> Diagnosis:
    """That made-up customers could be stored in a database that is not marked.

    Args:
        endpoint: The unencrypted endpoint.
        named_by: The setting that it comes from.
    """
    return Diagnosis(
        f"the endpoint {endpoint} is unencrypted, and the database is not marked as a playground: "
        "any server that answers there could make up customers",
        f"correct {named_by}; or use a database that was marked while it was empty "
        "(`resolution-worker migrate --stand-in`)",
    )


def only_stand_ins(connect: Connect, endpoint: str, named_by: str) -> Connect:
    """A function that opens connections to marked databases only.

    Args:
        connect: Opens a connection to any database.
        endpoint: The endpoint used in place of AWS's, for the message.
        named_by: The setting that it comes from.

    Raises:
        NotAStandIn: The database is not marked.
        LedgerUnavailable: It can't be checked; an old schema must be migrated first.
    """

    async def checked() -> Connection:
        connection = await connect()
        try:
            with translated_without_rows():
                marked = await is_stand_in(connection)
        except BaseException:
            connection.terminate()
            raise
        if not marked:
            connection.terminate()
            raise NotAStandIn(endpoint, named_by)
        return connection

    return checked


async def is_stand_in(connection: Connection) -> bool:
    """Whether the database of a connection is marked as a playground.

    Raises:
        LedgerUnavailable: Its schema is missing or too old, or the role lacks rights.
    """
    try:
        with driven():
            return bool(await connection.fetchval(_STAND_IN))
    except (
        asyncpg.UndefinedTableError,
        asyncpg.InvalidSchemaNameError,
        asyncpg.InsufficientPrivilegeError,
    ):
        if (found := await fitness.unfit(connection.fetch)) is None:
            raise
    raise LedgerUnavailable("; ".join(found))
