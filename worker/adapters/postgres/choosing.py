"""A selection of dead letters as a condition in SQL, every value a parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from worker.core.selection import Selection

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
    """What follows WHERE, and the values of its parameters in their order."""

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


def _plain(value: object) -> object:
    return value if isinstance(value, int) else str(value)
