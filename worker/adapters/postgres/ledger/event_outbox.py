"""The outbox of refused events, on PostgreSQL. No lock is held between two statements."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Final

import orjson

from worker.adapters.postgres.errors import translated
from worker.adapters.postgres.rows import document
from worker.adapters.postgres.sessions import Sessions
from worker.adapters.postgres.sql import load_sql
from worker.core.token.outgoing import EVENTS, Outgoing
from worker.ports import OutboxTurn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from worker.adapters.postgres.rows import Row
    from worker.adapters.postgres.sessions import Connect


_ADD: Final = load_sql("ledger/outbox_add")
_TAKE: Final = load_sql("ledger/outbox_take")
_COUNT: Final = load_sql("ledger/outbox_count")

MOST_EVENTS: Final = 100_000
_CONNECTIONS: Final = 2  # so that storing does not wait behind sending
_CALL_SECONDS: Final = 10.0


class PostgresOutbox:
    """See `worker.ports.Outbox`. Its connections open when an event is first refused.

    Args:
        connect: Opens one connection; see `sessions.connector`.
        most: About how many events may wait; replicas that add concurrently may exceed it.
    """

    def __init__(self, connect: Connect, *, most: int = MOST_EVENTS) -> None:
        self._sessions = Sessions(connect, _CONNECTIONS, statement_cache=None)
        self._most = most
        self._holder = uuid.uuid4().hex

    async def add(self, events: Sequence[Outgoing]) -> int:
        """Commit as many of the events as there is room for, from the first on; returns how many.

        Raises:
            LedgerUnavailable: Nothing was written, or it is unknown whether it was.
            RowsRefused: None was written; at least one can never be stored.
        """
        given = document([_row(place, event) for place, event in enumerate(events)])
        (found,) = await self._ask(_ADD, given, len(events), self._most)
        return int(found["events"])

    async def take(self, key: str, most: int, done: Sequence[int]) -> OutboxTurn | None:
        """Take or keep the turn to send, and read the oldest events of a key.

        Args:
            key: The routing key.
            most: Maximum number of events to read.
            done: Numbers of events that were sent; they are deleted.

        Returns:
            The turn, or None if another replica has it.

        Raises:
            LedgerUnavailable: The statement failed; pass the same numbers again.
        """
        rows = await self._ask(_TAKE, self._holder, key, most, orjson.dumps(list(done)).decode())
        if not rows:
            return None
        events = tuple((row["id"], _event(key, row)) for row in rows if row["id"] is not None)
        return OutboxTurn(events, rows[0]["expired"])

    async def count(self) -> int:
        """How many events wait.

        Raises:
            LedgerUnavailable: They could not be counted.
        """
        (found,) = await self._ask(_COUNT)
        return int(found["events"])

    async def close(self) -> None:
        """Close all connections."""
        await self._sessions.close()

    async def _ask(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        with translated():
            async with asyncio.timeout(_CALL_SECONDS), self._sessions.borrow() as session:
                return await session.fetch(sql, *arguments)


def _row(place: int, event: Outgoing) -> Row:
    about = event.about
    return {
        "place": place,
        "routing_key": event.routing_key,
        "message_id": _bytes(event.message_id),
        "correlation_id": None if event.correlation_id is None else _bytes(event.correlation_id),
        "body": "\\x" + event.body.hex(),
        "seller": about and about.key.seller,
        "customer_aws_account_id": about and about.customer_aws_account_id,
        "customer_identifier": about and about.customer_identifier,
    }


def _event(key: str, row: asyncpg.Record) -> Outgoing:
    correlation_id = row["correlation_id"]
    return Outgoing(
        exchange=EVENTS,
        routing_key=key,
        body=row["body"],
        message_id=_text(row["message_id"]),
        correlation_id=None if correlation_id is None else _text(correlation_id),
    )


def _bytes(text: str) -> str:
    return "\\x" + text.encode("utf-8", "surrogatepass").hex()


def _text(stored: bytes) -> str:
    try:
        return stored.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # not written by any worker
        return stored.decode("utf-8", "replace")
