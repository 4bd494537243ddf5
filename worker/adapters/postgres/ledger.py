"""The ledger on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import asyncpg

from worker.adapters.postgres import statements
from worker.adapters.postgres.connection import Sessions
from worker.adapters.postgres.errors import is_collision, translated
from worker.adapters.postgres.migrate import LATEST
from worker.adapters.postgres.rows import (
    document,
    key_row,
    letter_row,
    malformed_row,
    outcome_row,
    standing,
)
from worker.core.records import LetterReason, Outcome, Status, TokenKey
from worker.ports import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.adapters.postgres.connection import Connect, Session
    from worker.core.records import Batch

_TRIES: Final = 5


class PostgresLedger:
    """The record of what became of each token, in the schema `resolution`.

    One connection writes, a few read; each opens when first needed, and anew after a fault.

    Args:
        connect: Opens one connection; see `connection.connector`.
        readers: Most connections that `recall` and the gauges use.
        call_seconds: Bound of one whole call, waiting and connecting included.
        statement_cache: Whether statements are prepared once a connection. By default each
            connection finds out whether a pooler stands between, and then does without.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        readers: int = 2,
        call_seconds: float = 15.0,
        statement_cache: bool | None = None,
    ) -> None:
        self._writer = Sessions(connect, 1, statement_cache=statement_cache)
        self._readers = Sessions(connect, readers, statement_cache=statement_cache)
        self._call_seconds = call_seconds

    async def recall(self, keys: Sequence[TokenKey]) -> Mapping[TokenKey, Outcome]:
        """What is settled of these tokens; those not settled are absent.

        Raises:
            LedgerUnavailable: Nothing could be read.
        """
        if not keys:
            return {}
        return standing(await self._read(statements.RECALL, _keys_document(keys)))

    async def settle(self, batch: Batch) -> Mapping[TokenKey, Outcome]:
        """Commit a batch and return what stands for each of its tokens afterwards.

        Raises:
            LedgerUnavailable: Nothing was written, or the connection was lost at the commit and
                nobody knows: give the same batch again.
            RowsRefused: Nothing was written; at least one row can never be.
        """
        if not (batch.outcomes or batch.letters or batch.malformed):
            return {}
        with translated():
            async with asyncio.timeout(self._call_seconds):
                return await self._commit(batch)

    async def check(self) -> None:
        """Whether a worker could work here.

        Raises:
            LedgerUnavailable: It could not; the message says what to do about it. A schema newer
                than this program knows is none of those cases.
        """
        (found,) = await self._read(statements.READINESS)
        version, read_only, forbidden = found
        if version < LATEST:
            raise LedgerUnavailable(
                f"the schema is at version {version}, this program needs {LATEST}; "
                "run `resolution-worker migrate`"
            )
        if read_only:
            raise LedgerUnavailable(
                "the database is read-only; correct WORKER_POSTGRES__DSN so that it names the "
                "primary, or end the read-only state"
            )
        if forbidden:
            raise LedgerUnavailable(
                f"the role may not write {', '.join(forbidden)}; run deploy/postgres/grants.sql "
                "as the schema's owner"
            )

    async def schema_version(self) -> int:
        """The version the schema is at; 0 where nothing was migrated yet.

        Raises:
            LedgerUnavailable: It could not be read, or there is no schema.
        """
        (found,) = await self._read(statements.READINESS)
        return int(found["version"])

    async def dead_letter_counts(self) -> Mapping[str, int]:
        """How many dead letters are open, by reason; every known reason is there.

        Raises:
            LedgerUnavailable: Nothing could be read.
        """
        rows = await self._read(statements.DEAD_LETTER_COUNTS)
        return {reason.value: 0 for reason in LetterReason} | {
            row["reason"]: row["letters"] for row in rows
        }

    async def redeemable(self) -> int:
        """How many open dead letters have a token that could still be redeemed.

        Raises:
            LedgerUnavailable: Nothing could be read.
        """
        (found,) = await self._read(statements.REDEEMABLE)
        return int(found["letters"])

    async def close(self) -> None:
        """Close all connections."""
        await self._writer.close()
        await self._readers.close()

    async def _read(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        with translated():
            async with asyncio.timeout(self._call_seconds), self._readers.borrow() as session:
                return await session.fetch(sql, *arguments)

    async def _commit(self, batch: Batch) -> dict[TokenKey, Outcome]:
        for _ in range(_TRIES - 1):
            try:
                return await self._transact(batch)
            except asyncpg.PostgresError as error:
                if not is_collision(error):
                    raise
        return await self._transact(batch)

    async def _transact(self, batch: Batch) -> dict[TokenKey, Outcome]:
        async with self._writer.borrow() as session, session.transaction():
            stands = await _settle_outcomes(session, batch.outcomes)
            if batch.letters:
                letters = document([letter_row(letter) for letter in batch.letters])
                await session.fetch(statements.RETELL_LETTERS, letters)
                await session.fetch(statements.KEEP_LETTERS, letters)
            if batch.malformed:
                messages = document([malformed_row(message) for message in batch.malformed])
                await session.fetch(statements.NOTE_MALFORMED, messages)
            return stands


async def _settle_outcomes(
    session: Session, outcomes: Sequence[Outcome]
) -> dict[TokenKey, Outcome]:
    if not outcomes:
        return {}
    distinct = _distinct(outcomes)
    given = document([outcome_row(outcome) for outcome in distinct.values()])
    stands = standing(await session.fetch(statements.SETTLE, given))
    refused = distinct.keys() - stands.keys()
    if refused:
        stands |= standing(await session.fetch(statements.RECALL, _keys_document(refused)))
    if len(distinct) < len(outcomes):
        given = document([outcome_row(outcome) for outcome in outcomes])
    await _follow_up(session, given, stands)
    return stands


async def _follow_up(session: Session, given: str, stands: Mapping[TokenKey, Outcome]) -> None:
    resolved = [key for key, outcome in stands.items() if outcome.status is Status.RESOLVED]
    if resolved:
        await session.fetch(statements.REMEMBER_CUSTOMERS, given)
        await session.fetch(statements.REMEMBER_AGREEMENTS, given)
        # Apart from the upsert, which locked these tokens: so it sees the letters of a
        # transaction that the upsert had to wait for.
        await session.fetch(statements.CLOSE_LETTERS, _keys_document(resolved))


def _keys_document(keys: Iterable[TokenKey]) -> str:
    return document([key_row(key) for key in keys])


def _distinct(outcomes: Iterable[Outcome]) -> dict[TokenKey, Outcome]:
    """One outcome for each token, as if they had been settled one after another."""
    chosen: dict[TokenKey, Outcome] = {}
    for outcome in outcomes:
        stood = chosen.get(outcome.key)
        chosen[outcome.key] = outcome if stood is None else _merged(stood, outcome)
    return chosen


def _merged(stood: Outcome, given: Outcome) -> Outcome:
    if stood.status is Status.RESOLVED:
        return stood
    if given.status is not Status.RESOLVED and given.settled_at < stood.settled_at:
        return stood
    if given.received_at < stood.received_at:
        return given
    return replace(given, message_id=stood.message_id, received_at=stood.received_at)
