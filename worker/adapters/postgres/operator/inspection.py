"""Inspects the database: its server, schema and contents, and what the role may do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.postgres.errors import driven
from worker.adapters.postgres.migrate import LATEST, bundled
from worker.adapters.postgres.operator.errors import FAULTS, fault_of
from worker.adapters.postgres.rate.status import FleetStatus, fleet_status
from worker.adapters.postgres.sessions import close_quietly, connector
from worker.adapters.postgres.sql import load_sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

_STAND_IN: Final = load_sql("stand_in")
_MIGRATION_LIST: Final = load_sql("migration_list")
_PERIODS: Final = load_sql("operator/periods")
_DEAD_LETTER_COUNTS: Final = load_sql("ledger/dead_letter_counts")

_CLOSE_SECONDS: Final = 1.0


_INSPECTION: Final = load_sql("operator/inspection")
_NOW: Final = "SELECT clock_timestamp() AS now"
_SCHEMA_VERSION: Final = load_sql("schema_version")
_MISSING_RIGHTS: Final = load_sql("operator/missing_rights")
_REDEEMABLE_LETTERS: Final = load_sql("operator/redeemable_letters")
_LOST_QUEUES: Final = load_sql("operator/lost_queues")
_RECENT_OUTCOMES: Final = load_sql("operator/recent_outcomes")


WORKER: Final = "worker"


@dataclass(frozen=True, slots=True)
class Inspection:
    """Facts about a database and the connected role.

    Attributes:
        read_only: Whether it is not writable.
        standby: Whether it is a standby of another server.
        whose: Whose rights the role has: `worker`, `operator` or `reader`.
        has_schema: Whether the schema `resolution` exists.
        may_read_version: Whether the role may read the schema's version.
        absent: Missing tables.
        absent_parts: Missing views, functions and triggers, each with its kind.
        writes_directly: Whether the role has rights that only programs of an earlier version need.
    """

    server_version: str
    server_version_number: int
    encoding: str
    database: str
    role: str
    read_only: bool
    standby: bool
    superuser: bool
    whose: str
    has_schema: bool
    may_read_version: bool
    absent: tuple[str, ...]
    absent_parts: tuple[str, ...]
    writes_directly: bool


@dataclass(frozen=True, slots=True)
class MissingRight:
    """A right that a role needs but lacks.

    Attributes:
        name: A table, or the keyword and name of a schema or function, as in a GRANT.
        wanted: Such as `INSERT`.
        columns: The columns without this right; empty for the whole object.
    """

    name: str
    wanted: str
    columns: tuple[str, ...]

    @property
    def text(self) -> str:
        """As in a GRANT: `SELECT (state, seller) ON resolution.dead_letter`."""
        columns = f" ({', '.join(self.columns)})" if self.columns else ""
        return f"{self.wanted}{columns} ON {self.name}"


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
        (row,) = await self._fetch(_INSPECTION)
        lists = {name: tuple(row[name]) for name in ("absent", "absent_parts")}
        return Inspection(**{**row, **lists})

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
        """The schema's version; this program needs `LATEST_VERSION`.

        Raises:
            DatabaseFault: It could not be read.
        """
        (row,) = await self._fetch(_SCHEMA_VERSION)
        return int(row["version"])

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

    async def missing_rights(self, whose: str = WORKER) -> list[MissingRight]:
        """The rights that the role needs but lacks; missing tables are ignored.

        Args:
            whose: As whom it acts: `worker`, `operator` or `reader`.

        Raises:
            DatabaseFault: The query failed.
        """
        rows = await self._fetch(_MISSING_RIGHTS, whose)
        return [MissingRight(row["name"], row["wanted"], tuple(row["columns"])) for row in rows]

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


LATEST_VERSION: Final = LATEST


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
