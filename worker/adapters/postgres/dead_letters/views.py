"""What on-call reads of dead letters: groups, pages, one with its history, and its payload."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from worker.adapters.postgres.dead_letters.filters import select
from worker.adapters.postgres.dead_letters.payloads import Purpose, open_payloads
from worker.adapters.postgres.rows import document
from worker.adapters.postgres.sql import load_sql
from worker.core.dead_letters import grouping
from worker.core.dead_letters.views import (
    DeadLetter,
    DeadLetterDetail,
    Groups,
    LetterEvent,
    LetterGroup,
    Page,
    PageCursor,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from worker.adapters.postgres.sessions import Session
    from worker.core.dead_letters.commands import Actor
    from worker.core.dead_letters.filters import Selection
    from worker.core.dead_letters.views import SealedPayload

_UNGROUPED_LETTERS: Final = load_sql("dead_letters/ungrouped_letters")
_GROUP_LETTERS: Final = load_sql("dead_letters/group_letters")
_LETTER_GROUPS: Final = load_sql("dead_letters/letter_groups")
_LETTER_PAGE: Final = load_sql("dead_letters/letter_page")
_LETTER_WHOLE: Final = load_sql("dead_letters/letter_whole")
_LETTER_HISTORY: Final = load_sql("dead_letters/letter_history")
_LETTERS_OF_MESSAGE: Final = load_sql("dead_letters/letters_of_message")

MOST_EVENTS: Final = 200
_GROUPED_AT_ONCE: Final = 2_000
_NEWEST: Final = PageCursor(datetime(9999, 1, 1, tzinfo=UTC), 2**63 - 1)
_LETTER_COLUMNS: Final = len(DeadLetter.__dataclass_fields__)


async def group_letters(session: Session, report: Callable[[int], None] = lambda _: None) -> int:
    """Group the dead letters of workers of an older version; return how many.

    To be called before dead letters are chosen by group. Those of this version are grouped.

    Args:
        session: Without an open transaction: each step is one of its own.
        report: Called after each step with how many were grouped so far.
    """
    last, count = 0, 0
    while rows := await session.fetch(_UNGROUPED_LETTERS, last, _GROUPED_AT_ONCE):
        await session.fetch(_GROUP_LETTERS, _groups_found(rows))
        last, count = rows[-1]["id"], count + len(rows)
        report(count)
    return count


def _groups_found(rows: Sequence[Any]) -> str:
    return document(
        [
            {
                "id": row["id"],
                "group_key": grouping.key(row["reason"], row["error_code"], row["error_message"]),
                "failed_at": row["failed_at"],
            }
            for row in rows
        ]
    )


async def groups(session: Session, selection: Selection, limit: int) -> Groups:
    """Return the selected dead letters by group, those with the most redeemable tokens first."""
    chosen = select(selection, taken=1)
    sql = _LETTER_GROUPS.format(chosen=chosen.sql)
    rows = await session.fetch(sql, limit, *chosen.arguments)
    totals = tuple(rows[0])[-3:] if rows else (0, 0, 0)
    return Groups(tuple(_group(*tuple(row)[:-3]) for row in rows), *totals)


def _group(
    key: str | None, reason: str, error_code: str, message: str, *counts: Any
) -> LetterGroup:
    key = key or grouping.key(reason, error_code, message)
    return LetterGroup(key, reason, error_code, message, *counts)


async def page(
    session: Session, selection: Selection, limit: int, after: PageCursor | None
) -> Page:
    """Return the selected dead letters after a cursor, at most `limit`, newest failure first."""
    chosen = select(selection, taken=3)
    sql = _LETTER_PAGE.format(chosen=chosen.sql)
    rows = await session.fetch(sql, *(after or _NEWEST), limit + 1, *chosen.arguments)
    letters = tuple(DeadLetter(*row) for row in rows[:limit])
    more = len(rows) > limit
    return Page(letters, PageCursor(letters[-1].failed_at, letters[-1].id) if more else None)


async def detail(session: Session, letter_id: int) -> DeadLetterDetail | None:
    """Return all about one dead letter; None if there is none of that id."""
    found = await session.fetch(_LETTER_WHOLE, letter_id)
    if not found:
        return None
    members = tuple(found[0])
    newest_first = await session.fetch(_LETTER_HISTORY, letter_id, MOST_EVENTS + 1)
    events = tuple(LetterEvent(*row) for row in newest_first[:MOST_EVENTS][::-1])
    bare = DeadLetterDetail(DeadLetter(*members[:_LETTER_COLUMNS]), *members[_LETTER_COLUMNS:])
    return replace(bare, history=events, earlier=len(newest_first) > MOST_EVENTS)


async def ids_of_message(session: Session, message_id: str, limit: int) -> list[int]:
    """Return the ids of the dead letters of a message id, the newest failure first."""
    rows = await session.fetch(_LETTERS_OF_MESSAGE, message_id, limit)
    return [row["id"] for row in rows]


async def reveal(session: Session, letter_id: int, actor: Actor) -> SealedPayload | None:
    """Return what is sealed in a dead letter, for a person; None if there is none of that id.

    Who asked is committed to the audit and to the dead letter's history first, unless the payload
    is gone.
    """
    found = await open_payloads(session, [letter_id], actor, Purpose.REVEAL)
    return found.get(letter_id)
