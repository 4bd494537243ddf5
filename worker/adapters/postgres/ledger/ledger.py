"""The ledger on PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worker.adapters.postgres import fitness
from worker.adapters.postgres.collisions import repeat_on_collision
from worker.adapters.postgres.errors import (
    translated,
    translated_without_rows,
)
from worker.adapters.postgres.ledger.settlement import settle
from worker.adapters.postgres.rows import keys_document, stored_outcomes
from worker.adapters.postgres.sessions import Sessions, Unfit
from worker.adapters.postgres.sql import load_sql
from worker.core.records import LetterReason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from worker.adapters.postgres.sessions import Connect
    from worker.core.records import Batch, Outcome, TokenKey

_FIND_OUTCOMES: Final = load_sql("ledger/find_outcomes")
_DEAD_LETTER_COUNTS: Final = load_sql("ledger/dead_letter_counts")
_REDEEMABLE: Final = load_sql("ledger/redeemable")
_FIRST_EXPIRIES: Final = load_sql("ledger/first_expiries")
_NOTE_QUEUES: Final = load_sql("ledger/note_queues")


class PostgresLedger:
    """The record of each token's outcome, in the schema `resolution`.

    One connection writes, a few read; each opens when first needed, and again after a fault.

    Args:
        connect: Opens one connection; see `sessions.connector`.
        readers: Maximum number of connections for reads.
        call_seconds: Time limit of one whole call, including waiting and connecting.
        statement_cache: Whether statements are prepared once per connection. By default each
            connection detects whether there is a pooler in between, and then prepares none.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        readers: int = 2,
        call_seconds: float = 15.0,
        statement_cache: bool | None = None,
    ) -> None:
        self._writer, self._readers = (
            Sessions(connect, size, statement_cache=statement_cache, lost=self._doubt)
            for size in (1, readers)
        )
        self._call_seconds = call_seconds

    def _doubt(self) -> None:
        """Replace all sessions after one was lost: the others are probably dead too.

        If network or failover drop packets silently, each dead session would cost a whole time-out.
        """
        self._writer.distrust()
        self._readers.distrust()

    async def find_outcomes(self, keys: Sequence[TokenKey]) -> Mapping[TokenKey, Outcome]:
        """The outcomes of these tokens; tokens that are not settled are absent.

        Raises:
            LedgerUnavailable: Nothing could be read.
        """
        if not keys:
            return {}
        return stored_outcomes(await self._read(_FIND_OUTCOMES, keys_document(keys)))

    async def settle(self, batch: Batch) -> Mapping[TokenKey, Outcome]:
        """Commit a batch; returns the outcome that each of its tokens has afterwards.

        Raises:
            LedgerUnavailable: Nothing was written, or the connection was lost at the commit and
                the result is unknown: pass the same batch again.
            RowsRefused: Nothing was written; at least one row can never be stored.
        """
        if not (batch.outcomes or batch.letters or batch.malformed):
            return {}
        with translated():
            async with asyncio.timeout(self._call_seconds):
                return await self._commit(batch)

    async def check(self) -> None:
        """Check that a worker can use this database.

        Raises:
            LedgerUnavailable: It can't; the message says what to do about it. A schema newer than
                this program knows is accepted.
        """
        try:
            await self._check()
        except Unfit:
            # A session that began before the fault was corrected would report it for ever.
            await self._check()

    async def now(self) -> datetime:
        """The time of the database's clock.

        Raises:
            LedgerUnavailable: It could not be read.
        """
        (found,) = await self._read("SELECT clock_timestamp() AS now")
        instant: datetime = found["now"]
        return instant

    async def schema_version(self) -> int:
        """The schema's version; 0 if no migration was applied yet.

        Raises:
            LedgerUnavailable: It could not be read, or there is no schema.
        """
        return await fitness.schema_version(self._read)

    async def dead_letter_counts(self) -> Mapping[str, int]:
        """The number of open dead letters by reason; every known reason is included.

        Raises:
            LedgerUnavailable: Nothing could be read.
        """
        rows = await self._read(_DEAD_LETTER_COUNTS)
        return {reason.value: 0 for reason in LetterReason} | {
            row["reason"]: row["letters"] for row in rows
        }

    async def redeemable(self) -> int:
        """The number of open dead letters whose token can still be redeemed.

        Raises:
            LedgerUnavailable: Nothing could be read.
        """
        (found,) = await self._read(_REDEEMABLE)
        return int(found["letters"])

    async def first_expiries(self) -> Mapping[str, float]:
        """Seconds until the first open dead letter of each reason expires.

        Reasons without a redeemable letter are absent.

        Raises:
            LedgerUnavailable: Nothing could be read.
        """
        rows = await self._read(_FIRST_EXPIRIES)
        return {row["reason"]: row["seconds"] for row in rows}

    async def note_queues(
        self, present: Collection[str], absent: Collection[str]
    ) -> Mapping[str, datetime]:
        """Note which queues are on the broker and which are not.

        Returns:
            Those that went missing and were not acknowledged, and since when.

        Raises:
            LedgerUnavailable: Nothing was noted, or it is unknown whether it was.
        """
        rows = await self._read(_NOTE_QUEUES, sorted(present), sorted(absent))
        return {row["name"]: row["lost_at"] for row in rows}

    async def close(self) -> None:
        """Close all connections."""
        await self._writer.close()
        await self._readers.close()

    async def _check(self) -> None:
        with translated_without_rows():
            async with asyncio.timeout(self._call_seconds), self._readers.borrow() as session:
                if found := await fitness.unfit(session.fetch):
                    raise Unfit("; ".join(found))

    async def _read(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        with translated_without_rows():
            async with asyncio.timeout(self._call_seconds), self._readers.borrow() as session:
                return await session.fetch(sql, *arguments)

    async def _commit(self, batch: Batch) -> dict[TokenKey, Outcome]:
        return await repeat_on_collision(lambda: self._transact(batch))

    async def _transact(self, batch: Batch) -> dict[TokenKey, Outcome]:
        async with self._writer.borrow() as session:
            return await settle(session, batch)
