"""Commits one batch, in a fixed order."""

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
_CLOSE_LETTERS: Final = load_sql("ledger/close_letters")


async def settle(session: Session, batch: Batch) -> dict[TokenKey, Outcome]:
    """Commit a batch, in one exchange with the server where that can be.

    Returns:
        The outcome that each of its tokens has afterwards.
    """
    if session.commits_alone and _is_one_statement(batch):
        return await write(session, batch)
    async with session.transaction():
        return await write(session, batch)


def _is_one_statement(batch: Batch) -> bool:
    """Whether all that is written is written by the first statement; after it nothing but reads."""
    return not (batch.letters or batch.malformed) and all(
        outcome.status is Status.RESOLVED for outcome in batch.outcomes
    )


async def write(session: Session, batch: Batch) -> dict[TokenKey, Outcome]:
    """Write a batch; returns the resulting outcome of each of its tokens.

    A transaction is open, unless all is written by the first statement (`settle`).

    In this order, the same for every batch, and each with its rows in the order of their keys, so
    that two batches can't deadlock:

    1. outcomes; of resolved tokens customers, agreements, and their dead letters closed; for tokens
       whose stored outcome was kept, that is read,
    2. dead letters,
    3. malformed messages.
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
    each = given
    if len(distinct) < len(outcomes):
        each = document([outcome_row(outcome) for outcome in outcomes])
    rows = await session.fetch(_SETTLE, given, each, batch.books, batch.closing)
    current = stored_outcomes(rows)
    if kept := distinct.keys() - current.keys():  # the stored outcome took precedence
        found = stored_outcomes(await session.fetch(_FIND_OUTCOMES, keys_document(kept)))
        await _close_letters(session, batch, distinct, found)
        current |= found
    return current


async def _close_letters(
    session: Session,
    batch: Batch,
    given: Mapping[TokenKey, Outcome],
    kept: Mapping[TokenKey, Outcome],
) -> None:
    """Close those of tokens that another replica has resolved, and that failed here."""
    resolved = [
        key
        for key, outcome in kept.items()
        if outcome.status is Status.RESOLVED and given[key].status is not Status.RESOLVED
    ]
    if resolved and batch.closing:
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
