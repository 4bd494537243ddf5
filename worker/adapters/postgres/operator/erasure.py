"""Erasure of one customer, in one transaction; the database function that erases also audits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg

from worker.adapters.postgres.collisions import repeat_on_collision
from worker.adapters.postgres.errors import leaves_session_sound, translated
from worker.adapters.postgres.migrate import LATEST
from worker.adapters.postgres.rows import storable_text
from worker.adapters.postgres.sessions import one_session
from worker.adapters.postgres.sql import load_sql
from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from worker.adapters.postgres.sessions import Connect, Session

_SCHEMA_VERSION: Final = load_sql("schema_version")
_ERASE: Final = load_sql("operator/erase_customer")
# The whole ledger is scanned: an index by customer would cost the workers on every write.
COMMAND_SECONDS: Final = 150.0
_CALL_SECONDS: Final = 180.0
_NAMES_CUSTOMER: Final = "22023"
_NO_RIGHT: Final = (
    "this role may not erase; connect as resolution_operator (WORKER_POSTGRES__DSN), to which "
    "deploy/postgres/grants.sql gives that right"
)


class NamesCustomer(Exception):
    """The actor or the reason names the customer, which would remain in the audit."""


@dataclass(frozen=True, slots=True)
class Erased:
    """Numbers of rows that were removed for a customer, or would be.

    Attributes:
        outcomes: Its tokens in the ledger.
        letters: Dead letters of those tokens, or whose clear text names it.
        events: Entries in the histories of those letters, and events that were not sent yet.
        malformed: Records of malformed messages.
        mentions: Other letters' events and replays from whose text its name was removed.
        audited: Entries of the audit that name it; they stay, because the audit only grows.
    """

    outcomes: int
    customers: int
    agreements: int
    letters: int
    events: int
    malformed: int
    mentions: int
    audited: int

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing to erase; then nothing was audited either."""
        removed = (self.outcomes, self.customers, self.agreements, self.letters, self.events)
        return not any(removed) and not self.malformed and not self.mentions


@dataclass(frozen=True, slots=True)
class Request:
    """A request for erasure.

    Attributes:
        customer: An AWS account ID or a customer identifier.
        seller: Erase only this seller's data; None for all sellers.
        actor: Who erases, for the audit; it must not name the customer.
        reason: Why, for the audit; it must not name the customer.
    """

    customer: str
    seller: str | None
    actor: str
    reason: str


async def erase(connect: Connect, request: Request, *, dry_run: bool = False) -> Erased:
    """Remove all data of a customer, or nothing.

    Args:
        connect: Opens a connection as a role that may erase; its statements should have
            `COMMAND_SECONDS` as their time limit.
        request: Whom to erase, and for the audit by whom and why.
        dry_run: Erase and count, then roll back.

    Raises:
        NamesCustomer: The actor or the reason names the customer; nothing was removed.
        LedgerUnavailable: Nothing was removed, or the connection was lost at the commit and
            the result is unknown: it is safe to repeat.
        RowsRefused: Nothing was removed.
    """
    with translated():
        async with asyncio.timeout(_CALL_SECONDS), one_session(connect) as session:
            await _refuse_old_schema(session)
            return await repeat_on_collision(lambda: _transact(session, request, dry_run=dry_run))


async def _refuse_old_schema(session: Session) -> None:
    (found,) = await session.fetch(_SCHEMA_VERSION)
    if found["version"] < LATEST:
        raise LedgerUnavailable(
            f"the schema is at version {found['version']}, this program needs {LATEST}; "
            "run `resolution-worker migrate`"
        )


async def _transact(session: Session, request: Request, *, dry_run: bool) -> Erased:
    asked = (request.customer, request.seller, request.actor, request.reason)
    texts = (None if text is None else storable_text(text) for text in asked)
    await session.script("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        rows = await session.fetch(_ERASE, *texts)
    except asyncpg.PostgresError as error:
        if error.sqlstate == _NAMES_CUSTOMER:
            raise NamesCustomer from error
        if isinstance(error, asyncpg.InsufficientPrivilegeError):
            raise LedgerUnavailable(_NO_RIGHT) from error
        if leaves_session_sound(error):
            await session.script("ROLLBACK")
        raise
    await session.script("ROLLBACK" if dry_run else "COMMIT")
    return Erased(**{row["stored"]: row["entries"] for row in rows})
