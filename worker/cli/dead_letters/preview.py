"""What a replay would do, told before it does it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from worker.cli.dead_letters.format_values import counted, printable, redeemable, wrapped
from worker.core.dead_letters.replay import REMEDIES, Fate
from worker.core.records import LetterReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.dead_letters.commands import Forecast, Preview

_PARKED: str = (
    "the broker gave these up after many deliveries: they may crash whoever handles them; "
    "replay one alone first"
)


def print_preview(preview: Preview) -> None:
    """By group what would be replayed, and what is left out and why."""
    for line in _ready(preview):
        typer.echo(line)
    for line in left_out(preview):
        typer.echo(line)


def _ready(preview: Preview) -> Iterator[str]:
    now = datetime.now(UTC)
    yield f"would replay {counted(preview.ready, 'letter')}"
    for each in preview.ready_groups():
        title = f"{each.group}  {each.reason}  {printable(each.error_code)}"
        yield from wrapped(title, "  ", "    ")
        yield from wrapped(redeemable(each.letters, each.first_expiry, now), "    ")
        if each.reason == LetterReason.PARKED:
            yield from wrapped(_PARKED, "    ")


def left_out(preview: Preview, *, held: bool = True) -> Iterator[str]:
    """How many are left out, and the remedy; those that another replay holds only if wanted."""
    for fate, count in preview.left_out().items():
        if held or fate is not Fate.CLAIMED:
            yield from wrapped(f"left out {count}: {REMEDIES[fate]}", hanging="  ")


def preview_members(preview: Preview) -> dict[str, Any]:
    """For `--json`."""
    return {
        "would_replay": preview.ready,
        "left_out": [
            {"fate": fate.value, "letters": count, "remedy": REMEDIES[fate]}
            for fate, count in preview.left_out().items()
        ],
        "groups": [_members(each) for each in preview.forecasts],
    }


def _members(each: Forecast) -> dict[str, Any]:
    return {
        "group": each.group,
        "reason": each.reason,
        "error_code": each.error_code,
        "fate": each.fate.value,
        "letters": each.letters,
        "first_expiry": each.first_expiry,
    }
