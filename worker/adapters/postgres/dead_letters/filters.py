"""A selection of dead letters as a condition in SQL, with every value as a parameter."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, assert_never

from worker.adapters.postgres.sql import load_sql
from worker.core.dead_letters.filters import Comparison
from worker.core.dead_letters.replay import STALE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from worker.core.dead_letters.filters import Selection

_HELD: Final = load_sql("dead_letters/held")


class Condition(NamedTuple):
    """What follows WHERE, or a whole statement, and the values of its parameters in their order."""

    sql: str
    arguments: tuple[object, ...]


def select(selection: Selection, *, letter: str = "letter", taken: int = 0) -> Condition:
    """The condition that a selected dead letter meets.

    Dead letters must be grouped before a selection by group: see `views.group_letters`.

    Args:
        selection: Which dead letters.
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

    for _, each, value in selection.active():
        column = f"{letter}.{each.column}"
        match each.comparison:
            case Comparison.ONE_OF:
                # Not an array, for which the driver would ask the server about its type.
                values = ", ".join(parameter(_plain(one)) for one in value)
                parts.append(f"{column} IN ({values})")
            case Comparison.FROM:
                parts.append(f"{column} >= {parameter(value)}")
            case Comparison.BEFORE:
                parts.append(f"{column} < {parameter(value)}")
            case Comparison.IN_FUTURE:
                parts.append(f"{column} > now()")
            case _:
                assert_never(each.comparison)
    return Condition(" AND ".join(parts) or "TRUE", tuple(arguments))


def statement_about(
    sql: str, selection: Selection, given: Mapping[str, Any], **conditions: str
) -> Condition:
    """Return a whole statement about the dead letters that are chosen, and its parameters' values.

    Args:
        sql: With `{chosen}` for the condition, and `{given}` for one JSON object of values.
        selection: Which dead letters.
        given: What else it needs to know, by name; `replay` is 0 and `stale` is `STALE` unless
            given.
        conditions: What stands for other names in braces; these may have `{held}` in them, for
            whether another running replay has claimed the dead letter.
    """
    chosen = select(selection, letter="dead_letter")
    place = f"(${len(chosen.arguments) + 1}::json)"
    for name, condition in {
        **conditions,
        "held": _HELD,
        "chosen": chosen.sql,
        "given": place,
    }.items():
        sql = sql.replace(f"{{{name}}}", condition)
    values = {"replay": 0, "stale": STALE, **given}
    return Condition(sql, (*chosen.arguments, json.dumps(values, default=_written)))


def _written(value: datetime | timedelta) -> str:
    """As the server reads it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value.total_seconds()} seconds"


def _plain(value: object) -> object:
    return value if isinstance(value, int) else str(value)
