"""What a replay has done, what is left, and how to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer

from worker.cli.dead_letters.format_values import counted, printable, wrapped
from worker.cli.exits import PARTLY_FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.core.dead_letters.commands import Account, Preview, Result

_UNMARKED: Final = (
    "published, but the database could not be told. Repeat the command: a second copy costs no "
    "second call"
)
_GO_ON: Final = "what was not published is as it was: repeat the command to go on"


def code(account: Account) -> int:
    """The exit code."""
    failed = account.stopped or account.refused or account.unmarked or account.held
    return PARTLY_FAILED if failed else 0


def print_account(account: Account) -> None:
    """Counts on standard output, everything that is wrong on standard error."""
    for line in _counts(account):
        typer.echo(line)
    for line in _faults(account):
        typer.echo(line, err=True)


def _counts(account: Account) -> Iterator[str]:
    for result in account.canaries:
        yield from wrapped(f"canary {result.id}: {_outcome(result)}", hanging="  ")
    if account.silent:
        yield f"{counted(account.silent, 'canary').replace('canarys', 'canaries')}: no outcome yet"
    yield f"replay {account.replay}: {counted(account.published, 'letter')} published"
    if account.tally.known:
        yield f"known so far: {account.tally.resolved} resolved, {account.tally.failed} failed"


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
        yield from wrapped(f"{counted(account.unmarked, 'letter')}: {_UNMARKED}", hanging="  ")
    for why, count in account.refused.items():
        yield from wrapped(f"refused {count}: {printable(why)}", hanging="  ")
    if account.held:
        held = f"{counted(account.held, 'letter')} in the hands of another replay that is running"
        yield from wrapped(held, hanging="  ")
    if account.stopped is not None:
        left = "some may be left" if account.left is None else f"{account.left} left to replay"
        yield from wrapped(f"{left}; {_GO_ON}", hanging="  ")


def account_members(account: Account, preview: Preview) -> dict[str, Any]:
    """For `--json`."""
    return {
        "replay": account.replay,
        "state": account.state,
        "chosen": account.chosen,
        "published": account.published,
        "unmarked": account.unmarked,
        "refused": account.refused,
        "resolved": account.tally.resolved,
        "failed": account.tally.failed,
        "canaries": [result._asdict() for result in account.canaries],
        "canaries_without_outcome": account.silent,
        "held_by_others": account.held,
        "left_out": {fate.value: count for fate, count in preview.left_out().items()},
        "left": account.left,
        "stopped": account.stopped,
    }
