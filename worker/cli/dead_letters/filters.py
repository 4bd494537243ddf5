"""The options that choose dead letters, the same for every command of the group."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

import typer

from worker.cli.exits import failure
from worker.core.dead_letters.filters import LetterState, Selection
from worker.core.records import LetterReason
from worker.core.timestamps import parse_time
from worker.settings.durations import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")

WRONG_USAGE: Final = 2
_MOST_VALUES: Final = 1_000
_GROUP_CHARS: Final = 12
_LATEST_ID: Final = 2**63 - 1

JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]

_REASON_HELP: Final = f"Why it was given up: {', '.join(LetterReason)}."
# `--reason` says why a person acts where a command changes or reveals something: there the filter
# goes by its long name alone.
ReasonOption: TypeAlias = Annotated[
    list[LetterReason] | None,
    typer.Option("--reason", "--letter-reason", metavar="REASON", help=_REASON_HELP),
]
LetterReasonOption: TypeAlias = Annotated[
    list[LetterReason] | None, typer.Option("--letter-reason", metavar="REASON", help=_REASON_HELP)
]
ErrorOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--error", metavar="CODE", help="Error code.")
]
SinceOption: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="Failed last at or after: 2h (ago), or 2026-11-22T03:00Z."),
]
UntilOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="WHEN", help="Failed last before: as --since.")
]
SellerOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--seller", metavar="NAME", help="Seller account.")
]
RedeemableOption: TypeAlias = Annotated[
    bool, typer.Option("--redeemable", help="Only those whose token can still be redeemed.")
]
StateOption: TypeAlias = Annotated[
    list[LetterState] | None,
    typer.Option(
        "--state", metavar="STATE", help=f"Open unless given; else {', '.join(LetterState)}."
    ),
]
MessageIdOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--message-id", metavar="TEXT", help="The message's id.")
]
GroupOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="ID", help="Group, as `dead-letters groups` names it."),
]


def chosen(
    *,
    reason: Sequence[LetterReason] | None = None,
    error: Sequence[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    seller: Sequence[str] | None = None,
    redeemable: bool = False,
    state: Sequence[LetterState] | None = None,
    message_id: Sequence[str] | None = None,
    group: Sequence[str] | None = None,
    ids: Sequence[int] | None = None,
) -> Selection:
    """The selection that the options describe, or the end of the command with what is wrong."""
    now = datetime.now(UTC)
    try:
        selection = Selection(
            states=_distinct(state) or (LetterState.OPEN,),
            ids=tuple(_id(each) for each in _distinct(ids)),
            groups=tuple(_group(each) for each in _distinct(group)),
            reasons=tuple(each.value for each in _distinct(reason)),
            errors=_texts("--error", error),
            sellers=_texts("--seller", seller),
            message_ids=_texts("--message-id", message_id),
            since=_instant("--since", since, now),
            until=_instant("--until", until, now),
            redeemable=redeemable,
        )
        _check_span(selection)
    except ValueError as fault:
        raise failure(str(fault), WRONG_USAGE) from None
    return selection


def _distinct(values: Sequence[_T] | None) -> tuple[_T, ...]:
    distinct = tuple(dict.fromkeys(values or ()))
    if len(distinct) > _MOST_VALUES:
        raise ValueError(f"at most {_MOST_VALUES} values of one filter; choose by group or time")
    return distinct


def _texts(option: str, values: Sequence[str] | None) -> tuple[str, ...]:
    texts = _distinct(values)
    for text in texts:
        if not text or "\0" in text:
            raise ValueError(f"{option} must not be empty")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{option} is not UTF-8") from None
    return texts


def _id(given: int) -> int:
    if not 0 < given <= _LATEST_ID:
        raise ValueError("a letter's id is a whole number from 1, as `dead-letters list` shows it")
    return given


def _group(given: str) -> str:
    key = given.strip().lower()
    if len(key) != _GROUP_CHARS or set(key) - set("0123456789abcdef"):
        raise ValueError(
            f"--group takes {_GROUP_CHARS} hexadecimal digits, as `dead-letters groups` shows them"
        )
    return key


def _instant(option: str, given: str | None, now: datetime) -> datetime | None:
    if given is None:
        return None
    return parse_time(given.strip()) or _ago(option, given, now)


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
        raise ValueError("--since must be earlier than --until; as it is, nothing lies between")
