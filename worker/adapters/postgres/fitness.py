"""Whether a worker can use a database as it is, in the same words at `/readyz` and in `check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.postgres.errors import Diagnosis, unfit_encoding
from worker.adapters.postgres.migrate import LATEST
from worker.adapters.postgres.sql import load_sql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Fetch = Callable[..., Awaitable[Sequence[Any]]]

_INSPECTION: Final = load_sql("operator/inspection")
_SCHEMA_VERSION: Final = load_sql("schema_version")
_MISSING_RIGHTS: Final = load_sql("operator/missing_rights")

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


async def inspect(fetch: Fetch) -> Inspection:
    """Facts about the database and the role."""
    (row,) = await fetch(_INSPECTION)
    lists = {name: tuple(row[name]) for name in ("absent", "absent_parts")}
    return Inspection(**{**row, **lists})


async def schema_version(fetch: Fetch) -> int:
    """The schema's version; this program needs `LATEST`."""
    (row,) = await fetch(_SCHEMA_VERSION)
    return int(row["version"])


async def missing_rights(fetch: Fetch, whose: str) -> list[MissingRight]:
    """The rights that the role needs but lacks; missing tables are ignored.

    Args:
        fetch: Runs a query.
        whose: As whom it acts: `worker`, `operator` or `reader`.
    """
    rows = await fetch(_MISSING_RIGHTS, whose)
    return [MissingRight(row["name"], row["wanted"], tuple(row["columns"])) for row in rows]


async def unfit(fetch: Fetch) -> Diagnosis | None:
    """What keeps a worker from using the database; None if nothing does."""
    found = await inspect(fetch)
    if server := unfit_server(found):
        return server
    version = await schema_version(fetch) if found.may_read_version else None
    parts = [part for part in found.absent_parts if not part.startswith("view ")]
    if schema := unfit_schema(found, version, parts):
        return schema
    return lacking(found.role, await missing_rights(fetch, WORKER))


def unfit_server(found: Inspection) -> Diagnosis | None:
    """What is wrong with the server, or the database as a whole."""
    if found.server_version_number < _OLDEST_SERVER:
        return Diagnosis(
            f"PostgreSQL {found.server_version} is too old", "use PostgreSQL 12 or a newer one"
        )
    if encoding := unfit_encoding(found.encoding):
        return encoding
    if found.read_only and found.standby:
        return Diagnosis(
            "the database is a standby and takes no writes",
            "point WORKER_POSTGRES__DSN at the primary",
        )
    if found.read_only:
        return Diagnosis(
            "the database is read-only: it takes no writes",
            "make it writable, for example with `ALTER DATABASE … RESET "
            "default_transaction_read_only`, or the same with ROLE or SYSTEM; run RECONNECT on a "
            "PgBouncer in between",
        )
    return None


def unfit_schema(
    found: Inspection, version: int | None, absent_parts: Sequence[str]
) -> Diagnosis | None:
    """What is wrong with the schema.

    Args:
        found: Facts about it.
        version: Its version; None if the role may not read it.
        absent_parts: The missing views, functions and triggers that matter.
    """
    if not found.has_schema or "schema_migration" in found.absent:
        return Diagnosis(
            f"database {found.database} has no schema of this program",
            f"run {_MIGRATE} (with --stand-in where a simulator answers instead of AWS), {_GRANTS}",
        )
    if version is not None and version < LATEST:
        return Diagnosis(
            f"the schema is at version {version}, this program needs {LATEST}",
            f"run {_MIGRATE}, {_GRANTS}",
        )
    if found.absent:
        tables = ", ".join(f"resolution.{name}" for name in found.absent)
        return Diagnosis(f"tables are missing: {tables}", "restore them from a backup")
    if absent_parts:
        return Diagnosis(f"the schema lacks {'; '.join(absent_parts)}", _RESTORE)
    return None


def lacking(role: str, missing: Sequence[MissingRight]) -> Diagnosis | None:
    """That a role lacks rights, with statements on one line that can be pasted."""
    if not missing:
        return None
    statements = "; ".join(f"GRANT {right.text} TO {role}" for right in missing)
    return Diagnosis(
        f"{role} lacks {'; '.join(right.text for right in missing)}",
        f"run deploy/postgres/grants.sql as the schema's owner, or: {statements}",
    )


_OLDEST_SERVER: Final = 12_00_00  # the first with generated columns
_MIGRATE: Final = "`resolution-worker migrate`"
_GRANTS: Final = "then deploy/postgres/grants.sql"
_RESTORE: Final = (
    "restore them from a backup, or run their statements in worker/adapters/postgres/migrations "
    f"as the schema's owner, {_GRANTS}; {_MIGRATE} runs no file twice, so it can't restore them"
)
