"""Finds one buyer's token for a person, and writes into the audit that somebody has looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from worker.adapters.postgres.dead_letters import views
from worker.adapters.postgres.operator.audit import Entry, record
from worker.adapters.postgres.rows import storable_text, stored_outcomes
from worker.adapters.postgres.sql import load_sql
from worker.core.lookup import Agreement, By, Found, Query, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.adapters.postgres.sessions import Session
    from worker.core.records import Outcome

_OUTCOMES: Final = load_sql("lookup/outcomes")
_AGREEMENTS: Final = load_sql("lookup/agreements")
_LETTERS: Final = load_sql("lookup/letters")
_UNREADABLE: Final = load_sql("lookup/unreadable")

_MOST: Final = 20
_BETWEEN: Final = "token_sha256 BETWEEN $1::bytea AND $2::bytea"
_COLUMNS: Final = {
    By.MESSAGE_ID: "message_id",
    By.ACCOUNT: "customer_aws_account_id",
    By.LICENSE: "license_arn",
    By.CUSTOMER: "customer_identifier",
}
_AGREEMENT_IS: Final = {
    By.ACCOUNT: "customer_aws_account_id = $1::text",
    By.LICENSE: "identity = ARRAY[$1::text]",
    By.CUSTOMER: "left(customer_identifier, 255) = left($1::text, 255)"
    " AND customer_identifier = $1::text",
}


async def look_up(session: Session, queries: Sequence[Query], actor: str, reason: str) -> Found:
    """What is stored, by the first query that finds something, else by the last.

    That somebody has looked is committed to the audit before it is returned.

    Args:
        session: Without an open transaction, as a role for people on call.
        queries: What is looked for; at least one.
        actor: Who looks, for the audit.
        reason: Why, for the audit; it must not name a customer.
    """
    found = Found(queries[0])
    async with session.transaction():
        for query in queries:
            found = await _found(session, query)
            if not found.is_nothing:
                break
        await record(session, Entry(actor, reason, "lookup", _subject(found)))
    return found


def _subject(found: Found) -> dict[str, Any]:
    """What the audit has of it: nothing that names a customer, nor a message id, which may."""
    tokens = {each.key.sha256 for each in found.outcomes}
    tokens |= {each.letter.token_sha256 for each in found.letters if each.letter.token_sha256}
    return {
        "by": found.query.by.value,
        "tokens": sorted(sha256.hex() for sha256 in tokens),
        "letters": [each.letter.id for each in found.letters],
    }


async def _found(session: Session, query: Query) -> Found:
    where, arguments = _chosen(query)
    outcomes = await _outcomes(session, where, arguments)
    letters = await _letter_rows(session, query, [each.key.sha256 for each in outcomes])
    if query.by is By.MESSAGE_ID:  # its letter may be that of a token settled by another message
        known = {each.key.sha256 for each in outcomes}
        for sha256 in {row["token_sha256"] for row in letters} - known - {None}:
            outcomes += await _outcomes(session, _BETWEEN, (sha256, sha256))
    details = [await views.detail(session, row["id"]) for row in letters]
    return Found(
        query,
        tuple(outcomes[:_MOST]),
        tuple(each for each in details if each is not None),
        await _agreements(session, query),
        await _unreadable(session, query),
        more=len(outcomes) > _MOST,
    )


def _chosen(query: Query) -> tuple[str, tuple[object, ...]]:
    column = _COLUMNS.get(query.by)
    if column is None:
        return _BETWEEN, query.bounds
    text = storable_text(query.text)
    return f"left({column}, 255) = left($1::text, 255) AND {column} = $1::text", (text,)


async def _outcomes(session: Session, where: str, arguments: tuple[object, ...]) -> list[Outcome]:
    rows = await session.fetch(_OUTCOMES.format(chosen=where), *arguments)
    return list(stored_outcomes(rows).values())


async def _letter_rows(session: Session, query: Query, tokens: Iterable[bytes]) -> list[Any]:
    given = orjson.dumps([sha256.hex() for sha256 in tokens]).decode()
    where = "FALSE"
    arguments: tuple[object, ...] = ()
    if query.by is By.MESSAGE_ID:
        where, arguments = "message_id = $2::text", (storable_text(query.text),)
    elif query.by not in _COLUMNS:
        where, arguments = "token_sha256 BETWEEN $2::bytea AND $3::bytea", query.bounds
    return await session.fetch(_LETTERS.format(chosen=where), given, *arguments)


async def _agreements(session: Session, query: Query) -> tuple[Agreement, ...]:
    where = _AGREEMENT_IS.get(query.by)
    if where is None:
        return ()
    sql = _AGREEMENTS.format(chosen=where)
    return tuple(Agreement(*row) for row in await session.fetch(sql, storable_text(query.text)))


async def _unreadable(session: Session, query: Query) -> tuple[Unreadable, ...]:
    if query.by is not By.MESSAGE_ID:
        return ()
    rows = await session.fetch(_UNREADABLE, storable_text(query.text))
    return tuple(Unreadable(*row) for row in rows)
