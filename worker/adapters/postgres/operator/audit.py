"""The audit: who did what by hand, and why, written in the same transaction as the act."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from worker.adapters.postgres.errors import translated
from worker.adapters.postgres.ledger.settlement import write
from worker.adapters.postgres.rows import storable_text
from worker.adapters.postgres.sessions import one_session
from worker.adapters.postgres.sql import load_sql

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.adapters.postgres.sessions import Connect, Session
    from worker.core.records import Batch, Outcome, TokenKey

_RECORD_AUDIT: Final = load_sql("operator/record_audit")

_CALL_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One act of a person.

    Attributes:
        actor: Who did it, by their own account; the server adds the database role.
        reason: Why.
        action: What, as `command.verb`: `dead-letters.discard`, `resolve-customer.store`.
        subject: The object of the act; contains no token, and nothing that names a customer.
    """

    actor: str
    reason: str
    action: str
    subject: Mapping[str, Any] = field(default_factory=dict)


async def record(session: Session, entry: Entry) -> None:
    """Write an entry in the open transaction, so that act and entry are committed together."""
    subject = orjson.dumps(dict(entry.subject)).decode()
    texts = (storable_text(each) for each in (entry.actor, entry.reason, entry.action))
    await session.fetch(_RECORD_AUDIT, *texts, subject)


async def settle_audited(
    connect: Connect, batch: Batch, entry: Entry
) -> Mapping[TokenKey, Outcome]:
    """Commit a batch together with its entry; returns the resulting outcome of each token.

    Raises:
        LedgerUnavailable: Nothing was written, or the connection was lost at the commit and
            the result is unknown.
        RowsRefused: Nothing was written; a row can never be stored.
    """
    with translated():
        async with (
            asyncio.timeout(_CALL_SECONDS),
            one_session(connect) as session,
            session.transaction(),
        ):
            current = await write(session, batch)
            await record(session, entry)
    return current
