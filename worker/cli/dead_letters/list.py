"""`dead-letters list`: one dead letter a line, page by page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.adapters.postgres.dead_letters import views
from worker.cli.database import ask
from worker.cli.dead_letters import filters
from worker.cli.dead_letters.format_values import bold, columns, instant, left, printable, shortened
from worker.cli.dead_letters.shared import group_all
from worker.cli.exits import WRONG_USAGE, failure
from worker.cli.options import ConfigOption, JsonOption, with_option_groups
from worker.cli.printing import print_json
from worker.cli.settings import settings_of
from worker.core.dead_letters.views import read_cursor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.adapters.postgres.sessions import Session
    from worker.core.dead_letters.filters import Selection
    from worker.core.dead_letters.views import DeadLetter, Page, PageCursor

_GAP: Final = "  "
_WIDE: Final = 100
_ERROR_CHARS: Final = 8  # of an error code, at least
_MESSAGE_ID_CHARS: Final = 12  # of a message id, if there is room for so many


@with_option_groups
def list_letters(
    selection: filters.ToRead,
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Dead letters on a page.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Go on where the previous page ended.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Lists dead letters, the newest failure first.

    All filters must hold; one that is given several times takes any of its values. At the end of a
    page standard error shows how to get the next one; with --json the member `next` is what --after
    takes. In a pipe nothing is shortened.
    """
    cursor = _cursor(after)
    found = ask(settings_of(config), lambda session: _read(session, selection, limit, cursor))
    _print_json(found) if json else _print_table(found.letters)
    _print_rest(found, selection)


def _cursor(after: str | None) -> PageCursor | None:
    if after is None:
        return None
    try:
        return read_cursor(after)
    except ValueError as error:
        raise failure(f"--after {error}", WRONG_USAGE) from None


async def _read(
    session: Session, selection: Selection, limit: int, after: PageCursor | None
) -> Page:
    if selection.groups:
        await group_all(session)
    return await views.page(session, selection, limit, after)


def _print_json(found: Page) -> None:
    letters = [members(letter) for letter in found.letters]
    cursor = None if found.next is None else found.next.text
    print_json({"letters": letters, "next": cursor})


def members(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as a JSON object."""
    return {
        "id": letter.id,
        "state": letter.state,
        "reason": letter.reason,
        "error_code": letter.error_code,
        "error_message": letter.error_message,
        "group": letter.group,
        "seller": letter.seller,
        "message_id": letter.message_id,
        "fingerprint": letter.fingerprint,
        "token_sha256": None if letter.token_sha256 is None else letter.token_sha256.hex(),
        "support_code": letter.support_code,
        "attempts": letter.attempts,
        "occurrences": letter.occurrences,
        "replays": letter.replays,
        "received_at": letter.received_at,
        "first_failed_at": letter.first_failed_at,
        "failed_at": letter.failed_at,
        "redeemable_until": letter.redeemable_until,
    }


def _print_table(letters: Sequence[DeadLetter]) -> None:
    if not letters:
        return
    width = columns()
    lines = _piped(letters) if width is None else _fitted(letters, width)
    for number, line in enumerate(_aligned(lines)):
        typer.echo(line if number else bold(line))


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield _GAP.join(padded).rstrip()


def _piped(letters: Sequence[DeadLetter]) -> Sequence[tuple[str, ...]]:
    """Everything in full."""
    now = datetime.now(UTC)
    heading = ("id", "state", "failed", "reason", "error", "redeemable", "group", "message_id")
    return [heading] + [
        (
            str(letter.id),
            letter.state,
            f"{instant(letter.failed_at)}Z".replace(" ", "T"),
            letter.reason,
            printable(letter.error_code) or "-",
            left(letter.redeemable_until, now).replace(" ", ""),
            letter.group,
            printable(letter.message_id),
        )
        for letter in letters
    ]


def _fitted(letters: Sequence[DeadLetter], width: int) -> Sequence[tuple[str, ...]]:
    """What fits into a line: of error code and message id as much as there is room for."""
    now = datetime.now(UTC)
    firm = [("id", "failed", "reason", "left")] + [
        (
            str(letter.id),
            instant(letter.failed_at)[0 if width >= _WIDE else 5 :],
            letter.reason,
            left(letter.redeemable_until, now) if letter.state == "open" else letter.state,
        )
        for letter in letters
    ]
    taken = sum(max(map(len, column)) + len(_GAP) for column in zip(*firm, strict=True))
    errors = _cut("error", [letter.error_code for letter in letters], width - taken, _ERROR_CHARS)
    taken += max(map(len, errors)) + len(_GAP)
    room = width - taken
    if room < _MESSAGE_ID_CHARS:
        return [(*first, error, last) for (*first, last), error in zip(firm, errors, strict=True)]
    ids = _cut("message id", [letter.message_id for letter in letters], room, room)
    table = zip(firm, errors, ids, strict=True)
    return [(*first, error, last, name) for (*first, last), error, name in table]


def _cut(heading: str, values: Sequence[str], room: int, least: int) -> list[str]:
    width = max(room, least)
    return [heading] + [shortened(printable(value), width) for value in values]


def _print_rest(found: Page, selection: Selection) -> None:
    if not found.letters:
        typer.echo(f"No dead letter matches ({selection.words()}).", err=True)
    elif found.next is not None:
        typer.echo(f"There are more: repeat with --after {found.next.text}", err=True)
