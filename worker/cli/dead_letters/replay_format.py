"""What a replay would do, and what it has done: formatted for a person or as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from worker.cli.dead_letters.format_values import counted, printable, redeemable, wrapped
from worker.core.dead_letters.replay import REMEDIES, Eligibility
from worker.core.records import LetterReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.dead_letters.commands import Account, Preview, Result

_PARKED: Final = (
    "the broker gave these up after many deliveries: they may crash whoever handles them; "
    "replay one alone first"
)
_UNMARKED: Final = (
    "published, but could not be marked as published in the database. Repeat the command: a second "
    "copy costs no second call"
)
_GO_ON: Final = "what was not published is as it was: repeat the command to go on"


# --- before it ---


def print_preview(preview: Preview) -> None:
    """Print by group what would be replayed, and what is left out and why."""
    for line in _ready(preview):
        typer.echo(line)
    for line in left_out(preview):
        typer.echo(line)


def _ready(preview: Preview) -> Iterator[str]:
    now = datetime.now(UTC)
    yield f"would replay {counted(preview.ready, 'dead letter')}"
    for each in preview.ready_groups():
        title = f"{each.group}  {each.reason}  {printable(each.error_code)}"
        yield from wrapped(title, "  ", "    ")
        yield from wrapped(redeemable(each.letters, each.first_expiry, now), "    ")
        if each.reason == LetterReason.PARKED:
            yield from wrapped(_PARKED, "    ")


def left_out(preview: Preview, *, claimed: bool = True) -> Iterator[str]:
    """Format how many are left out, and the remedy; those of other replays only if wanted."""
    for why, count in preview.left_out().items():
        if claimed or why is not Eligibility.CLAIMED:
            yield from wrapped(f"left out {count}: {REMEDIES[why]}", hanging="  ")


def preview_members(preview: Preview) -> dict[str, Any]:
    """Return a preview for `--json`."""
    return {
        "would_replay": preview.ready,
        "left_out": [
            {"fate": why.value, "letters": count, "remedy": REMEDIES[why]}
            for why, count in preview.left_out().items()
        ],
        "groups": [
            {
                "group": each.group,
                "reason": each.reason,
                "error_code": each.error_code,
                "fate": each.eligibility.value,
                "letters": each.letters,
                "first_expiry": each.first_expiry,
            }
            for each in preview.forecasts
        ],
    }


# --- after it ---


def print_account(account: Account) -> None:
    """Print counts on standard output, and everything that is wrong on standard error."""
    for line in _counts(account):
        typer.echo(line)
    for line in _faults(account):
        typer.echo(line, err=True)


def _counts(account: Account) -> Iterator[str]:
    for result in account.canaries:
        yield from wrapped(f"canary {result.id}: {_outcome(result)}", hanging="  ")
    if account.silent:
        yield f"{account.silent} {'canary' if account.silent == 1 else 'canaries'}: no outcome yet"
    yield f"replay {account.replay}: {counted(account.published, 'dead letter')} published"
    if account.counts.known:
        yield f"known so far: {account.counts.resolved} resolved, {account.counts.failed} failed"


def _outcome(result: Result) -> str:
    if result.is_resolved:
        return "resolved"
    if result.state != "open":
        return result.state
    return f"{result.reason} {printable(result.error_code)}: {printable(result.error_message)}"


def _faults(account: Account) -> Iterator[str]:
    if account.stopped is not None:
        yield from wrapped(f"stopped: {printable(account.stopped)}", hanging="  ")
    if account.unmarked:
        yield from wrapped(f"{counted(account.unmarked, 'dead letter')}: {_UNMARKED}", hanging="  ")
    for why, count in account.refused.items():
        yield from wrapped(f"refused {count}: {printable(why)}", hanging="  ")
    if account.held:
        held = f"{counted(account.held, 'dead letter')} claimed by another replay that is running"
        yield from wrapped(held, hanging="  ")
    if account.stopped is not None:
        left = "some may be left" if account.left is None else f"{account.left} left to replay"
        yield from wrapped(f"{left}; {_GO_ON}", hanging="  ")


def account_members(account: Account, preview: Preview) -> dict[str, Any]:
    """Return an account for `--json`."""
    return {
        "replay": account.replay,
        "state": account.state,
        "chosen": account.chosen,
        "published": account.published,
        "unmarked": account.unmarked,
        "refused": account.refused,
        "resolved": account.counts.resolved,
        "failed": account.counts.failed,
        "canaries": [result._asdict() for result in account.canaries],
        "canaries_without_outcome": account.silent,
        "held_by_others": account.held,
        "left_out": {why.value: count for why, count in preview.left_out().items()},
        "left": account.left,
        "stopped": account.stopped,
    }
