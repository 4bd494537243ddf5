"""Which dead letters are meant: filters that compose, each narrowing what the others leave.

The fields of `Selection` are the one table of filters. The condition in SQL, the words in the audit
and the options of the commands are made from it. A filter needs its column in the table
`resolution.dead_letter`, which operators may read (`deploy/postgres/grants.sql`); where many
rows are searched, also a place in the index `dead_letter_by_choice` (migration 0004).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

from worker.core.records import LetterReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class LetterState(StrEnum):
    """What is being done about a dead letter."""

    OPEN = "open"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"
    ARCHIVED = "archived"


class Comparison(Enum):
    """How a column of a dead letter is compared with the value of a filter."""

    ONE_OF = auto()
    FROM = auto()
    BEFORE = auto()
    IN_FUTURE = auto()


class ValueKind(Enum):
    """What a filter takes: any number of ids, states, reasons, groups or texts; an instant; yes."""

    ID = auto()
    STATE = auto()
    REASON = auto()
    GROUP = auto()
    TEXT = auto()
    INSTANT = auto()
    FLAG = auto()


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter.

    Attributes:
        column: Of the table `resolution.dead_letter`.
        kind: What it takes.
        option: Its name on the command line; empty for the argument of a command.
        metavar: What stands for its value in `--help`; None for a flag.
        help: What it does, for `--help`.
        comparison: When a dead letter meets it.
        narrows: Whether it counts as narrowing; false for a filter that always has a value.
        is_private: Whether its values may be anything, so that the audit has fingerprints of them.
    """

    column: str
    kind: ValueKind
    option: str
    metavar: str | None
    help: str
    comparison: Comparison = Comparison.ONE_OF
    narrows: bool = True
    is_private: bool = False


_STATES: Final = f"Open unless given; else {', '.join(LetterState)}."
_REASONS: Final = f"Why it was given up: {', '.join(LetterReason)}."
_SINCE: Final = "Failed last at or after: 2h (ago), or 2026-11-22T03:00Z."
_GROUP: Final = "Group, as `dead-letters groups` names it."
_REDEEMABLE: Final = "Only those whose token can still be redeemed."


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice of dead letters. A filter with several values takes any of them; empty: all.

    Attributes:
        states: Only the open ones unless given.
        groups: See `grouping.key`.
    """

    states: Annotated[
        tuple[LetterState, ...],
        Filter("state", ValueKind.STATE, "--state", "STATE", _STATES, narrows=False),
    ] = (LetterState.OPEN,)
    ids: Annotated[
        tuple[int, ...],
        Filter("id", ValueKind.ID, "", "ID", "As `dead-letters list` shows them."),
    ] = ()
    groups: Annotated[
        tuple[str, ...],
        Filter("group_key", ValueKind.GROUP, "--group", "ID", _GROUP),
    ] = ()
    reasons: Annotated[
        tuple[str, ...],
        Filter("reason", ValueKind.REASON, "--letter-reason", "REASON", _REASONS),
    ] = ()
    errors: Annotated[
        tuple[str, ...], Filter("error_code", ValueKind.TEXT, "--error", "CODE", "Error code.")
    ] = ()
    sellers: Annotated[
        tuple[str, ...], Filter("seller", ValueKind.TEXT, "--seller", "NAME", "Seller account.")
    ] = ()
    message_ids: Annotated[
        tuple[str, ...],
        Filter(
            *("message_id", ValueKind.TEXT, "--message-id", "TEXT", "The message's id."),
            is_private=True,
        ),
    ] = ()
    since: Annotated[
        datetime | None,
        Filter("failed_at", ValueKind.INSTANT, "--since", "WHEN", _SINCE, Comparison.FROM),
    ] = None
    until: Annotated[
        datetime | None,
        Filter(
            *("failed_at", ValueKind.INSTANT, "--until", "WHEN"),
            "Failed last before: as --since.",
            Comparison.BEFORE,
        ),
    ] = None
    redeemable: Annotated[
        bool,
        Filter(
            *("redeemable_until", ValueKind.FLAG, "--redeemable", None),
            _REDEEMABLE,
            Comparison.IN_FUTURE,
        ),
    ] = False

    def active(self) -> Iterator[tuple[str, Filter, Any]]:
        """Each filter that has a value: its name, itself, and the value."""
        for name, each in FILTERS.items():
            if value := getattr(self, name):
                yield name, each, value

    @property
    def is_narrowed(self) -> bool:
        """Whether any filter but the state leaves dead letters out."""
        return any(each.narrows for _, each, _ in self.active())

    def described(self) -> dict[str, object]:
        """The filters that are in force, for the audit: it names no token and no customer.

        A message id may be anything a publisher thought of, so its fingerprint stands for it.
        """
        return {name: _described(each, value) for name, each, value in self.active()}

    def words(self) -> str:
        """The filters that are in force, for a person: `state open, reason dead or parked`."""
        return ", ".join(_words(name, value) for name, value in self.described().items())


FILTERS: Final[Mapping[str, Filter]] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Selection, include_extras=True).items()
}
"""All filters, by their names in `Selection`."""


def _described(each: Filter, value: Any) -> object:
    if each.kind is ValueKind.FLAG:
        return value
    if each.kind is ValueKind.INSTANT:
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if each.is_private:
        return [_fingerprint(one) for one in value]
    return list(value) if each.kind is ValueKind.ID else [str(one) for one in value]


def _fingerprint(text: str) -> str:
    # A lone surrogate may come from the command line of a system that is not UTF-8.
    return "sha256:" + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _words(name: str, value: object) -> str:
    if isinstance(value, list):
        return f"{name.removesuffix('s').replace('_', ' ')} {' or '.join(map(str, value))}"
    return name if value is True else f"{name} {value}"
