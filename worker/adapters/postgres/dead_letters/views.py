"""What on-call reads of the dead letters: groups, pages, one whole, and its payload."""

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
_LETTER_NAMESAKES: Final = load_sql("dead_letters/letter_namesakes")

MOST_EVENTS: Final = 200
_GROUPED_AT_ONCE: Final = 2_000
_NEWEST: Final = PageCursor(datetime(9999, 1, 1, tzinfo=UTC), 2**63 - 1)
_FILED_COLUMNS: Final = len(DeadLetter.__dataclass_fields__)


async def group_letters(session: Session, tell: Callable[[int], None] = lambda _: None) -> int:
    """Find the groups of letters that workers of an older version have told; returns how many.

    To be done before letters are chosen by group. What was told by this version is grouped.

    Args:
        session: With no transaction open: each step stands by itself.
        tell: Told after each step how many were grouped so far.
    """
    last, count = 0, 0
    while rows := await session.fetch(_UNGROUPED_LETTERS, last, _GROUPED_AT_ONCE):
        await session.fetch(_GROUP_LETTERS, _groups_found(rows))
        last, count = rows[-1]["id"], count + len(rows)
        tell(count)
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
    """The selected letters by group, those with the most that can still be saved first."""
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
    """The selected letters after a place, at most so many, the newest failure first."""
    chosen = select(selection, taken=3)
    sql = _LETTER_PAGE.format(chosen=chosen.sql)
    rows = await session.fetch(sql, *(after or _NEWEST), limit + 1, *chosen.arguments)
    letters = tuple(DeadLetter(*row) for row in rows[:limit])
    more = len(rows) > limit
    return Page(letters, PageCursor(letters[-1].failed_at, letters[-1].id) if more else None)


async def dossier(session: Session, letter_id: int) -> DeadLetterDetail | None:
    """All about one letter; None if there is none of that id."""
    found = await session.fetch(_LETTER_WHOLE, letter_id)
    if not found:
        return None
    members = tuple(found[0])
    newest_first = await session.fetch(_LETTER_HISTORY, letter_id, MOST_EVENTS + 1)
    events = tuple(LetterEvent(*row) for row in newest_first[:MOST_EVENTS][::-1])
    bare = DeadLetterDetail(DeadLetter(*members[:_FILED_COLUMNS]), *members[_FILED_COLUMNS:])
    return replace(bare, history=events, earlier=len(newest_first) > MOST_EVENTS)


async def namesakes(session: Session, message_id: str, limit: int) -> list[int]:
    """Ids of the letters of messages with this id, the newest failure first."""
    rows = await session.fetch(_LETTER_NAMESAKES, message_id, limit)
    return [row["id"] for row in rows]


async def reveal(session: Session, letter_id: int, actor: Actor) -> SealedPayload | None:
    """What is sealed in a letter, for a person; None if there is no letter of that id.

    That it was asked for is committed to the audit and to the letter's history, unless nothing is
    there any more.
    """
    found = await open_payloads(session, [letter_id], actor, Purpose.REVEAL)
    return found.get(letter_id)
