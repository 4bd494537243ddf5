"""A selection of dead letters as a condition in SQL, every value a parameter."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from worker.core.dead_letters.filters import Selection

# A filter's name in `Selection`, and its column.
_COLUMNS: Final = (
    ("states", "state"),
    ("ids", "id"),
    ("groups", "group_key"),
    ("reasons", "reason"),
    ("errors", "error_code"),
    ("sellers", "seller"),
    ("message_ids", "message_id"),
)


class Condition(NamedTuple):
    """What follows WHERE, or a whole statement, and the values of its parameters in their order."""

    sql: str
    arguments: tuple[object, ...]


def select(selection: Selection, *, letter: str = "letter", taken: int = 0) -> Condition:
    """The condition that a selected letter meets.

    Letters must be grouped before a selection by group: see `letters_reading.group_letters`.

    Args:
        selection: Which letters.
        letter: What `resolution.dead_letter` is called in the statement.
        taken: How many parameters the statement has already: numbering goes on after them.

    Returns:
        A condition that may stand in any WHERE, that of an UPDATE or before FOR UPDATE included.
    """
    parts: list[str] = []
    arguments: list[object] = []

    def parameter(value: object) -> str:
        arguments.append(value)
        return f"${taken + len(arguments)}"

    for name, column in _COLUMNS:
        if values := getattr(selection, name):
            # Not an array, for which the driver would ask the server about its type.
            each = ", ".join(parameter(_plain(value)) for value in values)
            parts.append(f"{letter}.{column} IN ({each})")
    if selection.since is not None:
        parts.append(f"{letter}.failed_at >= {parameter(selection.since)}")
    if selection.until is not None:
        parts.append(f"{letter}.failed_at < {parameter(selection.until)}")
    if selection.redeemable:
        parts.append(f"{letter}.redeemable_until > now()")
    return Condition(" AND ".join(parts) or "TRUE", tuple(arguments))


def completed(sql: str, selection: Selection, given: Mapping[str, Any]) -> Condition:
    """A statement about the letters that are chosen, whole, and the values of its parameters.

    Args:
        sql: With `{chosen}` for the condition, and `{given}` for one JSON object of values.
        selection: Which letters.
        given: What else it needs to know.
    """
    chosen = select(selection, letter="dead_letter")
    place = f"(${len(chosen.arguments) + 1}::json)"
    text = sql.replace("{chosen}", chosen.sql).replace("{given}", place)
    return Condition(text, (*chosen.arguments, json.dumps(given, default=_written)))


def _written(value: datetime | timedelta) -> str:
    """As the server reads it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value.total_seconds()} seconds"


def _plain(value: object) -> object:
    return value if isinstance(value, int) else str(value)
