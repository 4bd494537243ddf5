"""Writes one batch in a transaction, in a fixed order; returns the resulting outcomes."""

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
    from collections.abc import Iterable, Mapping

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
    """Write a batch in the open transaction; returns the resulting outcome of each of its tokens.

    In this order, the same for every batch, with the upsert's rows in the order of their keys, so
    that two batches can't deadlock:

    1. outcomes into the ledger; for tokens whose stored outcome was kept, that is read,
    2. of resolved tokens: customers, agreements, and their dead letters closed,
    3. dead letters,
    4. malformed messages.
    """
    current = await _write_outcomes(session, batch) if batch.outcomes else {}
    if batch.letters:
        letters = document([letter_row(letter) for letter in batch.letters])
        await session.fetch(_TELL_LETTERS, letters)
    if batch.malformed:
        messages = document([malformed_row(message) for message in batch.malformed])
        await session.fetch(_NOTE_MALFORMED, messages)
    return current


async def _write_outcomes(session: Session, batch: Batch) -> dict[TokenKey, Outcome]:
    outcomes = batch.outcomes
    distinct = _distinct(outcomes)
    given = document([outcome_row(outcome) for outcome in distinct.values()])
    current = stored_outcomes(await session.fetch(_SETTLE, given))
    kept = distinct.keys() - current.keys()  # the stored outcome took precedence
    if kept:
        current |= stored_outcomes(await session.fetch(_FIND_OUTCOMES, keys_document(kept)))
    if len(distinct) < len(outcomes):
        given = document([outcome_row(outcome) for outcome in outcomes])
    await _follow_up(session, batch, given, current)
    return current


async def _follow_up(
    session: Session, batch: Batch, given: str, current: Mapping[TokenKey, Outcome]
) -> None:
    resolved = [key for key, outcome in current.items() if outcome.status is Status.RESOLVED]
    if resolved and batch.books:
        await session.fetch(_REMEMBER_CUSTOMERS, given)
        await session.fetch(_REMEMBER_AGREEMENTS, given)
    if resolved and batch.closing:
        # In a statement after the upsert, which locked these tokens, so that it sees the letters
        # of a transaction that the upsert had to wait for.
        await session.fetch(_CLOSE_LETTERS, keys_document(resolved))


def _distinct(outcomes: Iterable[Outcome]) -> dict[TokenKey, Outcome]:
    """One outcome for each token, as if all had been settled one after another."""
    chosen: dict[TokenKey, Outcome] = {}
    for outcome in outcomes:
        earlier = chosen.get(outcome.key)
        chosen[outcome.key] = outcome if earlier is None else _merged(earlier, outcome)
    return chosen


def _merged(earlier: Outcome, given: Outcome) -> Outcome:
    if earlier.status is Status.RESOLVED:
        return earlier
    if given.status is not Status.RESOLVED and given.settled_at < earlier.settled_at:
        return earlier
    first = given if given.received_at < earlier.received_at else earlier
    return replace(
        given,
        message_id=first.message_id,
        received_at=first.received_at,
        first_seen=min(earlier.seen_since, given.seen_since),
    )
