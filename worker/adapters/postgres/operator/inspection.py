"""A look at the database: what it is, what the role may do, what lies in it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.postgres.errors import driven
from worker.adapters.postgres.migrate import LATEST, bundled
from worker.adapters.postgres.operator.errors import FAULTS, fault_of
from worker.adapters.postgres.rate.status import Standing, standing
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
_RECENT_OUTCOMES: Final = load_sql("operator/recent_outcomes")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a database says of itself and of the role that asks.

    Attributes:
        read_only: Whether it takes no writes.
        standby: Whether that is because it follows another server.
        has_schema: Whether the schema `resolution` is there.
        may_read_version: Whether the role may read at which version it is.
        absent: Tables that are not there.
        absent_parts: Views, functions and triggers that are not there, each with its kind.
        writes_directly: The role has rights that only programs of the version before need.
    """

    server_version: str
    server_version_number: int
    database: str
    role: str
    read_only: bool
    standby: bool
    superuser: bool
    has_schema: bool
    may_read_version: bool
    absent: tuple[str, ...]
    absent_parts: tuple[str, ...]
    writes_directly: bool


@dataclass(frozen=True, slots=True)
class MissingRight:
    """A right that a role needs and lacks.

    Attributes:
        name: A table, or `SCHEMA` and a schema.
        wanted: Such as `INSERT`.
        columns: The columns it is lacking on; empty for all of the table.
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
    """Open dead letters whose token may still be redeemed, and when the first no longer may."""

    letters: int
    first_expiry: datetime | None


class Inspector:
    """Asks over one connection; see `inspecting`."""

    def __init__(self, connection: Any, dsn: str) -> None:
        self._connection = connection
        self._dsn = dsn

    async def inspect(self) -> Inspection:
        """What the database says of itself.

        Raises:
            DatabaseFault: It could not be asked.
        """
        (row,) = await self._fetch(_INSPECTION)
        lists = {name: tuple(row[name]) for name in ("absent", "absent_parts")}
        return Inspection(**{**row, **lists})

    async def now(self) -> datetime:
        """What the server's clock shows.

        Raises:
            DatabaseFault: It could not be asked.
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
        """The version the schema is at; `LATEST_VERSION` is what this program needs.

        Raises:
            DatabaseFault: It could not be read.
        """
        (row,) = await self._fetch(_SCHEMA_VERSION)
        return int(row["version"])

    async def changed_migrations(self) -> list[str]:
        """Files of this program that were applied with other text, as `migrate` refuses them.

        Raises:
            DatabaseFault: What was applied could not be read.
        """
        rows = await self._fetch(_MIGRATION_LIST)
        applied = {row["version"]: row["checksum"] for row in rows}
        return [
            migration.file_name
            for migration in bundled()
            if applied.get(migration.version, migration.checksum) != migration.checksum
        ]

    async def missing_rights(self) -> list[MissingRight]:
        """What the role may not do, and needs to; tables that are not there are passed over.

        Raises:
            DatabaseFault: It could not be asked.
        """
        rows = await self._fetch(_MISSING_RIGHTS)
        return [MissingRight(row["name"], row["wanted"], tuple(row["columns"])) for row in rows]

    async def periods(self) -> Mapping[str, float | None]:
        """How long the database keeps things, in seconds by name, None for ever.

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
        """Open dead letters that could still be of use.

        Raises:
            DatabaseFault: They could not be counted.
        """
        (row,) = await self._fetch(_REDEEMABLE_LETTERS)
        return Redeemable(row["letters"], row["first_expiry"])

    async def recent_outcomes(self, seconds: float) -> Mapping[str, int]:
        """Tokens settled in the last so many seconds, by status.

        Raises:
            DatabaseFault: They could not be counted, in time say.
        """
        rows = await self._fetch(_RECENT_OUTCOMES, seconds)
        return {row["status"]: row["outcomes"] for row in rows}

    async def fleet(self, seller: str) -> Standing:
        """What a seller's replicas share.

        Raises:
            DatabaseFault: It could not be read.
        """
        return await standing(self._fetch, seller)

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
    """A connection to look over.

    Args:
        dsn: Where to, and as whom.
        seconds: Bound of connecting, and of each question.

    Raises:
        DatabaseFault: No connection.
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
