"""Inspects the database: its server, schema and contents, and what the role may do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.postgres import fitness
from worker.adapters.postgres.errors import driven
from worker.adapters.postgres.migrate import bundled
from worker.adapters.postgres.operator.errors import FAULTS, fault_of
from worker.adapters.postgres.rate.status import FleetStatus, fleet_status
from worker.adapters.postgres.sessions import close_quietly, connector
from worker.adapters.postgres.sql import load_sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from worker.adapters.postgres.fitness import Inspection, MissingRight

_STAND_IN: Final = load_sql("stand_in")
_MIGRATION_LIST: Final = load_sql("migration_list")
_PERIODS: Final = load_sql("operator/periods")
_DEAD_LETTER_COUNTS: Final = load_sql("ledger/dead_letter_counts")

_CLOSE_SECONDS: Final = 1.0


_NOW: Final = "SELECT clock_timestamp() AS now"
_REDEEMABLE_LETTERS: Final = load_sql("operator/redeemable_letters")
_KNOWN_QUEUES: Final = load_sql("operator/known_queues")
_LOST_QUEUES: Final = load_sql("operator/lost_queues")
_RECENT_OUTCOMES: Final = load_sql("operator/recent_outcomes")


@dataclass(frozen=True, slots=True)
class Redeemable:
    """The number of open dead letters whose token can still be redeemed, and the first expiry."""

    letters: int
    first_expiry: datetime | None


class Inspector:
    """Runs queries over one connection; see `inspecting`."""

    def __init__(self, connection: Any, dsn: str) -> None:
        self._connection = connection
        self._dsn = dsn

    async def inspect(self) -> Inspection:
        """Facts about the database and the role.

        Raises:
            DatabaseFault: The query failed.
        """
        return await fitness.inspect(self._fetch)

    async def now(self) -> datetime:
        """The time of the server's clock.

        Raises:
            DatabaseFault: The query failed.
        """
        (row,) = await self._fetch(_NOW)
        moment: datetime = row["now"]
        return moment

    async def is_stand_in(self) -> bool:
        """Whether the schema is marked as a playground.

        Raises:
            DatabaseFault: It could not be read.
        """
        (row,) = await self._fetch(_STAND_IN)
        return bool(row["marked"])

    async def schema_version(self) -> int:
        """The schema's version; this program needs `migrate.LATEST`.

        Raises:
            DatabaseFault: It could not be read.
        """
        return await fitness.schema_version(self._fetch)

    async def changed_migrations(self) -> list[str]:
        """Migration files whose text differs from the applied one; `migrate` refuses them.

        Raises:
            DatabaseFault: The applied migrations could not be read.
        """
        rows = await self._fetch(_MIGRATION_LIST)
        applied = {row["version"]: row["checksum"] for row in rows}
        return [
            migration.file_name
            for migration in bundled()
            if applied.get(migration.version, migration.checksum) != migration.checksum
        ]

    async def missing_rights(self, whose: str = fitness.WORKER) -> list[MissingRight]:
        """The rights that the role needs but lacks; missing tables are ignored.

        Args:
            whose: As whom it acts: `worker`, `operator` or `reader`.

        Raises:
            DatabaseFault: The query failed.
        """
        return await fitness.missing_rights(self._fetch, whose)

    async def periods(self) -> Mapping[str, float | None]:
        """The retention periods in the database, in seconds by name; None for ever.

        Raises:
            DatabaseFault: It could not be read.
        """
        (row,) = await self._fetch(_PERIODS)
        return dict(row)

    async def open_letters(self) -> Mapping[str, int]:
        """Open dead letters by reason.

        Raises:
            DatabaseFault: They could not be counted.
        """
        rows = await self._fetch(_DEAD_LETTER_COUNTS)
        return {row["reason"]: row["letters"] for row in rows}

    async def redeemable(self) -> Redeemable:
        """The open dead letters that can still be redeemed.

        Raises:
            DatabaseFault: They could not be counted.
        """
        (row,) = await self._fetch(_REDEEMABLE_LETTERS)
        return Redeemable(row["letters"], row["first_expiry"])

    async def recent_outcomes(self, seconds: float) -> Mapping[str, int]:
        """The number of tokens settled in the last `seconds`, by status.

        Raises:
            DatabaseFault: They could not be counted, for example in time.
        """
        rows = await self._fetch(_RECENT_OUTCOMES, seconds)
        return {row["status"]: row["outcomes"] for row in rows}

    async def known_queues(self) -> list[str]:
        """Queues that replicas have seen on the broker, those that went missing included.

        Raises:
            DatabaseFault: It could not be read.
        """
        return [row["name"] for row in await self._fetch(_KNOWN_QUEUES)]

    async def lost_queues(self) -> Mapping[str, datetime]:
        """Queues that went missing on the broker and were not acknowledged, and since when.

        Raises:
            DatabaseFault: It could not be read.
        """
        return {row["name"]: row["lost_at"] for row in await self._fetch(_LOST_QUEUES)}

    async def fleet(self, seller: str) -> FleetStatus:
        """What a seller's replicas share.

        Raises:
            DatabaseFault: It could not be read.
        """
        return await fleet_status(self._fetch, seller)

    async def _fetch(self, sql: str, *arguments: object) -> list[Any]:
        try:
            with driven():
                rows: list[Any] = await self._connection.fetch(sql, *arguments)
        except FAULTS as error:
            raise fault_of(error, self._dsn) from error
        return rows


@asynccontextmanager
async def inspecting(dsn: str, seconds: float) -> AsyncIterator[Inspector]:
    """An `Inspector` with a connection of its own.

    Args:
        dsn: The address and role.
        seconds: Time limit of connecting, and of each query.

    Raises:
        DatabaseFault: No connection could be opened.
    """
    connect = connector(lambda: dsn, connect_seconds=seconds, command_seconds=seconds)
    try:
        connection = await connect()
    except FAULTS as error:
        raise fault_of(error, dsn) from error
    try:
        yield Inspector(connection, dsn)
    finally:
        await close_quietly(connection, _CLOSE_SECONDS)
