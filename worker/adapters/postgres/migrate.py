"""Migrates the schema: numbered SQL files, each applied once and not changed afterwards."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

import asyncpg

from worker.adapters.postgres.errors import translate, translated, unfit_encoding
from worker.adapters.postgres.sessions import connector, one_session
from worker.adapters.postgres.sql import load_sql
from worker.core.exceptions import SetupFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from importlib.resources.abc import Traversable

    from worker.adapters.postgres.sessions import Session

_MIGRATION_PERIODS: Final = load_sql("migration_periods")
_MIGRATION_GROUND: Final = load_sql("migration_ground")
_STAND_IN_MARK: Final = load_sql("stand_in_mark")
_LOOK_FOR_MARK: Final = load_sql("stand_in")
_MIGRATION_BOUNDS: Final = load_sql("migration_bounds")
_MIGRATION_LOCK: Final = load_sql("migration_lock")
_MIGRATION_RECORD: Final = load_sql("migration_record")
_MIGRATION_LIST: Final = load_sql("migration_list")
_ENCODING: Final = load_sql("migration_encoding")

_FILE_NAME: Final = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")

# How long to wait for another `migrate`; then for each lock, while all traffic queues behind it.
_TURN_SECONDS: Final = 120
_LOCK_SECONDS: Final = 5
_STATEMENT_SECONDS: Final = 900
_COMMAND_SECONDS: Final = _TURN_SECONDS + _STATEMENT_SECONDS

_STAND_IN: Final = "stand_in"


class MigrationRefused(SetupFault):
    """The database must not be changed: its encoding is unfit, or others made its schema."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file.

    Attributes:
        checksum: SHA-256 of its text, hexadecimal.
    """

    version: int
    name: str
    sql: str
    checksum: str

    @classmethod
    def of(cls, file_name: str, text: str) -> Migration:
        """The migration in a file named `NNNN_name.sql`.

        Raises:
            ValueError: The name does not have that form.
        """
        match = _FILE_NAME.fullmatch(file_name)
        if match is None:
            raise ValueError(f"{file_name} is not named NNNN_name.sql")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        return cls(int(match["version"]), match["name"], text, checksum)

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"{self.version:04}_{self.name}.sql"


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration as recorded in the database."""

    version: int
    name: str
    checksum: str
    applied_at: datetime


def bundled() -> tuple[Migration, ...]:
    """The migrations that come with this program, oldest first."""
    return _ordered((resources.files(__package__) / "migrations").iterdir())


def _ordered(files: Iterable[Traversable]) -> tuple[Migration, ...]:
    found = [
        Migration.of(file.name, file.read_text(encoding="utf-8"))
        for file in files
        if file.name.endswith(".sql")
    ]
    return tuple(sorted(found, key=lambda migration: migration.version))


LATEST: Final = bundled()[-1].version


async def migrate(
    dsn: Callable[[], str],
    *,
    stand_in: bool = False,
    periods: Mapping[str, float | None] | None = None,
    migrations: Sequence[Migration] | None = None,
    on_applied: Callable[[Applied], None] = lambda _: None,
) -> list[Applied]:
    """Apply the missing migrations, each together with its record in a transaction of its own.

    Safe to run twice or concurrently: only who holds the lock reads the records, and works.

    Args:
        dsn: The address, with a role that owns the schema or may create one in this database.
        stand_in: Also mark the schema as a playground, if it is not yet; see `stand_in`.
        periods: How long to keep rows, in seconds, None for ever: `ledger`, `unresolved`,
            `dead_letters`, `audit`. Periods that are not given are not changed.
        migrations: The bundled ones by default.
        on_applied: Called with each migration once it is committed.

    Returns:
        All migrations recorded in the database, oldest first, including unknown versions.

    Raises:
        MigrationRefused: The database's encoding can't hold all of Unicode; or a file was changed
            after it had been applied; or the schema is up to date but can't be marked, because
            something is already stored in it.
        LedgerUnavailable: The database can't be reached, or refused a statement.
    """
    wanted = bundled() if migrations is None else migrations
    with translated():
        async with one_session(connector(dsn, command_seconds=_COMMAND_SECONDS)) as session:
            await _refuse_encoding(session)
            while (step := await _apply_next(session, wanted, stand_in=stand_in)) is not None:
                on_applied(step)
            if stand_in:
                await _mark(session)
            if periods:
                await session.fetch(_MIGRATION_PERIODS, json.dumps(dict(periods)))
            return await _recorded(session)


async def _refuse_encoding(session: Session) -> None:
    (found,) = await session.fetch(_ENCODING)
    if unfit := unfit_encoding(found["encoding"]):
        raise MigrationRefused("; ".join(unfit))


async def _apply_next(
    session: Session, wanted: Sequence[Migration], *, stand_in: bool
) -> Applied | None:
    """Apply the first missing migration; None if none is missing."""
    async with session.transaction():
        await _take_turn(session)
        await session.script(_MIGRATION_GROUND)
        recorded = {applied.version: applied for applied in await _recorded(session)}
        _refuse_changed(wanted, recorded)
        missing = (each for each in wanted if each.version not in recorded)
        migration = next(missing, None)
        if migration is None:
            return None
        applied = await _apply(session, migration)
        if stand_in and migration.name == _STAND_IN:
            # In the same transaction: a waiting worker must not find the schema without the mark.
            await session.script(_STAND_IN_MARK)
        return applied


async def _mark(session: Session) -> None:
    async with session.transaction():
        await session.script(_STAND_IN_MARK)
        (found,) = await session.fetch(_LOOK_FOR_MARK)
    if not found["marked"]:
        raise MigrationRefused(
            "the schema was not marked as a playground: something is already stored in it, and "
            "only an empty one can be marked; use another database for the simulator"
        )


async def _take_turn(session: Session) -> None:
    statement = f"{_STATEMENT_SECONDS}s"
    await session.fetch(_MIGRATION_BOUNDS, f"{_TURN_SECONDS}s", statement)
    await session.fetch(_MIGRATION_LOCK)
    await session.fetch(_MIGRATION_BOUNDS, f"{_LOCK_SECONDS}s", statement)


def _refuse_changed(wanted: Sequence[Migration], recorded: dict[int, Applied]) -> None:
    changed = [
        migration.file_name
        for migration in wanted
        if migration.version in recorded
        and recorded[migration.version].checksum != migration.checksum
    ]
    if changed:
        raise MigrationRefused(
            f"{', '.join(changed)} was changed after it had been applied; restore the file as it "
            "was, and put the changes into a new migration"
        )


async def _apply(session: Session, migration: Migration) -> Applied:
    try:
        await session.script(migration.sql)
    except asyncpg.PostgresError as error:
        fault = translate(error)
        raise type(fault)(f"{migration.file_name}: {fault}") from error
    (row,) = await session.fetch(
        _MIGRATION_RECORD, migration.version, migration.name, migration.checksum
    )
    return Applied(*row)


async def _recorded(session: Session) -> list[Applied]:
    return [Applied(*row) for row in await session.fetch(_MIGRATION_LIST)]
