"""`dead-letters groups`: failures by their cause, where on-call begins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.adapters.postgres.dead_letters import views
from worker.cli.database import ask
from worker.cli.dead_letters import filters
from worker.cli.dead_letters.format_values import (
    bold,
    columns,
    counted,
    instant,
    printable,
    redeemable,
    wrapped,
)
from worker.cli.dead_letters.shared import group_all
from worker.cli.options import ConfigOption, JsonOption, with_option_groups
from worker.cli.printing import print_json
from worker.cli.settings import settings_of
from worker.core.dead_letters.remedies import remedy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.adapters.postgres.sessions import Session
    from worker.core.dead_letters.filters import Selection
    from worker.core.dead_letters.views import Groups, LetterGroup

_MOST_GROUPS: Final = 1_000


@with_option_groups
def groups(
    selection: filters.ToRead,
    *,
    limit: Annotated[int, typer.Option(min=1, max=_MOST_GROUPS, help="Most groups to show.")] = 20,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Groups failures by reason, error code and message, those that can be redeemed first.

    For each: how many, when, how many can still be redeemed and for how long, and what most likely
    helps. Its id is what the other commands take as --group. All filters must hold; one that is
    given several times takes any of its values.
    """
    found = ask(settings_of(config), lambda session: _read(session, selection, limit))
    _print_json(found) if json else _print_text(found)
    _print_rest(found, selection)


async def _read(session: Session, selection: Selection, limit: int) -> Groups:
    await group_all(session)
    return await views.groups(session, selection, limit)


def _print_json(found: Groups) -> None:
    shown = [_members(group) for group in found.shown]
    totals = {"groups": found.groups, "letters": found.letters, "redeemable": found.redeemable}
    print_json({"groups": shown, "total": totals})


def _members(group: LetterGroup) -> dict[str, Any]:
    return {
        "group": group.key,
        "reason": group.reason,
        "error_code": group.error_code,
        "message": group.message,
        "letters": group.letters,
        "first_failed_at": group.first_failed_at,
        "last_failed_at": group.last_failed_at,
        "redeemable": group.redeemable,
        "first_expiry": group.first_expiry,
        "not_kept": group.not_kept,
        "others_resolved": group.others_resolved,
        "remedy": _remedy(group),
    }


def _print_text(found: Groups) -> None:
    now = datetime.now(UTC)
    for number, group in enumerate(found.shown):
        if number:
            typer.echo()
        for line in _lines(group, now):
            typer.echo(line)


def _lines(group: LetterGroup, now: datetime) -> Iterator[str]:
    title = f"{group.key}  {group.reason}  {printable(group.error_code)}"
    yield from map(bold, wrapped(title, hanging="  "))
    yield from wrapped(printable(group.message) or "(no message)", "  ")
    first, last = instant(group.first_failed_at), instant(group.last_failed_at)
    times = f"at {last}" if first == last else f"from {first} to {last}"
    yield from wrapped(f"{counted(group.letters, 'dead letter')} {times} UTC", "  ")
    yield from wrapped(redeemable(group.redeemable, group.first_expiry, now), "  ")
    if group.not_kept:
        yield from wrapped(f"{group.not_kept} more were counted, but not kept", "  ")
    yield from wrapped(f"remedy: {_remedy(group)}", "  ", "    ")


def _remedy(group: LetterGroup) -> str:
    return remedy(group.reason, group.error_code, others_resolved=group.others_resolved)


def _print_rest(found: Groups, selection: Selection) -> None:
    if not found.groups:
        typer.echo(f"No dead letter matches ({selection.words()}).", err=True)
        return
    rest = found.groups - len(found.shown)
    more = f"; {rest} more with --limit {min(found.groups, _MOST_GROUPS)}" if rest else ""
    counts = f"{counted(found.groups, 'group')}, {counted(found.letters, 'dead letter')}"
    typer.echo(f"{counts}, {found.redeemable} redeemable{more}", err=True)
    if found.redeemable and columns() is not None:
        typer.echo("next: dead-letters replay --group ID --dry-run", err=True)
