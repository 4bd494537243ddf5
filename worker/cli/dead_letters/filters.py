"""The options that choose dead letters, made from the table of filters."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

import typer

from worker.cli.exits import WRONG_USAGE, failure
from worker.cli.options import OptionGroup
from worker.core.dead_letters.filters import FILTERS, Filter, LetterState, Selection, ValueKind
from worker.core.durations import parse
from worker.core.records import LetterReason
from worker.core.timestamps import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_T = TypeVar("_T")

_MOST_VALUES: Final = 1_000
_GROUP_CHARS: Final = 12
_LATEST_ID: Final = 2**63 - 1
_TYPES: Final[dict[ValueKind, Any]] = {
    ValueKind.ID: list[int] | None,
    ValueKind.STATE: list[LetterState] | None,
    ValueKind.REASON: list[LetterReason] | None,
    ValueKind.GROUP: list[str] | None,
    ValueKind.TEXT: list[str] | None,
    ValueKind.INSTANT: str | None,
    ValueKind.FLAG: bool,
}


def selection_of(**given: Any) -> Selection:
    """Return the selection that options describe, or end the command with what is wrong with them.

    Args:
        given: Values as typer reads them, by the options' names with underscores, and `ids`.
    """
    now = datetime.now(UTC)
    try:
        values = {
            name: _read(each, given[_parameter_name(name)], now)
            for name, each in FILTERS.items()
            if given.get(_parameter_name(name))
        }
        selection = Selection(**values)
        _check_span(selection)
    except ValueError as fault:
        raise failure(str(fault), WRONG_USAGE) from None
    return selection


def _to_act_upon(*, everything: bool, **given: Any) -> Selection:
    """As `selection_of`, or the end of the command where nothing says which dead letters are meant.

    Named dead letters are meant whatever their state, others while they are not closed.
    """
    selection = selection_of(**given)
    if everything and selection.is_narrowed:
        raise failure("--all can't be combined with ids or filters", WRONG_USAGE)
    if not everything and not selection.is_narrowed:
        raise failure(
            "choose dead letters: by id, by --group as `dead-letters groups` shows it, by another "
            "filter, or with --all",
            WRONG_USAGE,
        )
    pending = () if selection.ids else (LetterState.OPEN, LetterState.REPLAYING)
    return replace(selection, states=pending)


# --- options ---


def _parameter_name(name: str) -> str:
    return FILTERS[name].option.removeprefix("--").replace("-", "_") or name


def _option(name: str, *before: str) -> inspect.Parameter:
    each = FILTERS[name]
    shown: Any = (
        typer.Option(*before, each.option, metavar=each.metavar, help=each.help)
        if each.option
        else typer.Argument(metavar=each.metavar, help=each.help)
    )
    return _keyword(
        _parameter_name(name), each.kind is not ValueKind.FLAG, _TYPES[each.kind], shown
    )


def _keyword(name: str, is_optional: bool, kind: Any, shown: Any) -> inspect.Parameter:  # noqa: FBT001 - private
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if is_optional else False,
        annotation=Annotated[kind, shown],
    )


_ALL: Final = typer.Option("--all", help="All of them, where neither ids nor filters are given.")
# `--reason` says why a person acts where a command changes something: there the filter goes by its
# long name alone.
_READ: Final = tuple(
    _option(name, *(["--reason"] if name == "reasons" else ())) for name in FILTERS if name != "ids"
)
_ACT: Final = (
    *(_option(name) for name in FILTERS if name != "states"),
    _keyword("everything", False, bool, _ALL),
)
ToRead: TypeAlias = Annotated[Selection, OptionGroup(selection_of, _READ)]
"""What a command that only reads is to show; open dead letters unless told otherwise."""
ToActUpon: TypeAlias = Annotated[Selection, OptionGroup(_to_act_upon, _ACT)]
"""What a command that changes dead letters is to change; the person must have said which."""


# --- values ---


def _read(each: Filter, given: Any, now: datetime) -> Any:
    """Return a value of `Selection`; raises ValueError in words for the person who typed it."""
    if each.kind is ValueKind.FLAG:
        return given
    if each.kind is ValueKind.INSTANT:
        return parse_time(given.strip()) or _ago(each.option, given, now)
    values = _distinct(given)
    if (read := _READERS.get(each.kind)) is None:
        return values
    return tuple(read(each.option, value) for value in values)


def _distinct(values: Sequence[_T]) -> tuple[_T, ...]:
    distinct = tuple(dict.fromkeys(values))
    if len(distinct) > _MOST_VALUES:
        raise ValueError(f"at most {_MOST_VALUES} values of one filter; choose by group or time")
    return distinct


def _text(option: str, given: str) -> str:
    if not given or "\0" in given:
        raise ValueError(f"{option} must not be empty or contain a NUL character")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{option} is not UTF-8") from None
    return given


def _id(_: str, given: int) -> int:
    if not 0 < given <= _LATEST_ID:
        raise ValueError(
            "the id of a dead letter is a whole number from 1, as `dead-letters list` shows it"
        )
    return given


def _group(option: str, given: str) -> str:
    key = given.strip().lower()
    if len(key) != _GROUP_CHARS or set(key) - set("0123456789abcdef"):
        raise ValueError(
            f"{option} takes {_GROUP_CHARS} hexadecimal digits, as `dead-letters groups` shows them"
        )
    return key


_READERS: Final[dict[ValueKind, Callable[[str, Any], Any]]] = {
    ValueKind.ID: _id,
    ValueKind.GROUP: _group,
    ValueKind.TEXT: _text,
}


def _ago(option: str, given: str, now: datetime) -> datetime:
    try:
        return now - timedelta(milliseconds=parse(given).milliseconds)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{option} is neither a time ago such as 90s, 2h or 1d, nor an instant with its "
            "offset such as 2026-11-22T03:00Z or 2026-11-22T04:00+01:00"
        ) from None


def _check_span(selection: Selection) -> None:
    since, until = selection.since, selection.until
    if since is not None and until is not None and since >= until:
        raise ValueError("--since must be earlier than --until, or no time lies between them")
