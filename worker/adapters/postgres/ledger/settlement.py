"""What one transaction writes, in which order, and what stands afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from worker.adapters.postgres.rows import (
    document,
    keys_document,
    letter_row,
    malformed_row,
    outcome_row,
    stored_outcomes,
)
from worker.adapters.postgres.sql import load_sql
from worker.core.records import Outcome, Status, TokenKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.adapters.postgres.sessions import Session
    from worker.core.records import Batch


_TELL_LETTERS: Final = load_sql("ledger/tell_letters")
_NOTE_MALFORMED: Final = load_sql("ledger/note_malformed")
_SETTLE: Final = load_sql("ledger/settle")
_FIND_OUTCOMES: Final = load_sql("ledger/find_outcomes")
_REMEMBER_CUSTOMERS: Final = load_sql("ledger/remember_customers")
_REMEMBER_AGREEMENTS: Final = load_sql("ledger/remember_agreements")
_CLOSE_LETTERS: Final = load_sql("ledger/close_letters")


async def write(session: Session, batch: Batch) -> dict[TokenKey, Outcome]:
    """Write a batch in the transaction that is open; returns what stands of its tokens.

    The order of the tables is the same for every batch, and within a table that of the keys:
    so no two batches wait for each other.
    """
    stands = await _write_outcomes(session, batch.outcomes) if batch.outcomes else {}
    if batch.letters:
        letters = document([letter_row(letter) for letter in batch.letters])
        await session.fetch(_TELL_LETTERS, letters)
    if batch.malformed:
        messages = document([malformed_row(message) for message in batch.malformed])
        await session.fetch(_NOTE_MALFORMED, messages)
    return stands


async def _write_outcomes(session: Session, outcomes: Sequence[Outcome]) -> dict[TokenKey, Outcome]:
    distinct = _distinct(outcomes)
    given = document([outcome_row(outcome) for outcome in distinct.values()])
    stands = stored_outcomes(await session.fetch(_SETTLE, given))
    refused = distinct.keys() - stands.keys()
    if refused:
        stands |= stored_outcomes(await session.fetch(_FIND_OUTCOMES, keys_document(refused)))
    if len(distinct) < len(outcomes):
        given = document([outcome_row(outcome) for outcome in outcomes])
    await _follow_up(session, given, stands)
    return stands


async def _follow_up(session: Session, given: str, stands: Mapping[TokenKey, Outcome]) -> None:
    resolved = [key for key, outcome in stands.items() if outcome.status is Status.RESOLVED]
    if resolved:
        await session.fetch(_REMEMBER_CUSTOMERS, given)
        await session.fetch(_REMEMBER_AGREEMENTS, given)
        # Apart from the upsert, which locked these tokens: so it sees the letters of a
        # transaction that the upsert had to wait for.
        await session.fetch(_CLOSE_LETTERS, keys_document(resolved))


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
    first = given if given.received_at < stood.received_at else stood
    return replace(
        given,
        message_id=first.message_id,
        received_at=first.received_at,
        first_seen=min(stood.seen_since, given.seen_since),
    )
