"""`dead-letters discard`: closes dead letters that nobody will replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import typer

from worker.adapters.postgres.operator.audit import Entry
from worker.adapters.postgres.operator.errors import told_operator
from worker.cli.dead_letters import filters, shared
from worker.cli.dead_letters.format_values import counted
from worker.cli.exits import PARTLY_FAILED
from worker.cli.options import ConfigOption, JsonOption, with_option_groups
from worker.cli.printing import print_json
from worker.cli.running import progress
from worker.cli.settings import settings_of
from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.core.dead_letters.commands import Actor
    from worker.core.dead_letters.filters import Selection

_BATCH: Final = 1_000


@dataclass(slots=True)
class _Done:
    """How many were open, how many are discarded, and why it stopped early."""

    open: int = 0
    discarded: int = 0
    left: int = 0
    stopped: str | None = None


@with_option_groups
def discard(
    selection: filters.ToActUpon,
    intent: shared.IntentOptions,
    *,
    yes: shared.YesOption = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Closes open dead letters, with a reason; their history stays until retention deletes it.

    They are no longer counted, nor replayed by a filter. Dead letters that are being replayed are
    left alone. Exits with 1 if it stopped early, or if one that was named could not be discarded.
    """

    async def work(commands: DeadLetterCommands) -> _Done:
        await commands.group()
        await shared.require_known(commands, selection.ids)
        done = _Done(await commands.discardable(selection))
        done.left = done.open
        if done.open and not intent.dry_run:
            shared.confirm(f"Discard {counted(done.open, 'dead letter')}?", yes=yes)
            await _discard(commands, selection, intent.who, done)
        return done

    done = shared.act(settings_of(config), work, "nothing was discarded")
    _print(done, dry_run=intent.dry_run, json=json)
    short = selection.ids and not intent.dry_run and done.discarded < len(selection.ids)
    raise typer.Exit(PARTLY_FAILED if done.stopped or short else 0)


async def _discard(
    commands: DeadLetterCommands, selection: Selection, actor: Actor, done: _Done
) -> None:
    """Discard all of them, audited at the beginning and at the end."""
    subject = {"selection": selection.described(), "letters": done.open}
    began = await commands.record(Entry(*actor, "dead-letters.discard", subject))
    after = 0
    with shared.stopping_after_batch() as stopping, progress("discarding", done.open) as show:
        try:
            while not stopping.is_set() and (
                batch := await commands.discard(
                    selection, actor, failed_until=began, after=after, most=_BATCH
                )
            ):
                done.discarded, after = done.discarded + len(batch), batch[-1]
                show(done.discarded)
            if stopping.is_set():
                done.stopped = "interrupted"
        except LedgerUnavailable as error:
            done.stopped = told_operator(str(error))
    done.left = max(0, done.open - done.discarded)
    end = {"discarded": done.discarded, "stopped": done.stopped is not None}
    try:
        await commands.record(Entry(*actor, "dead-letters.discard.end", end))
    except LedgerUnavailable as error:
        done.stopped = done.stopped or told_operator(str(error))


def _print(done: _Done, *, dry_run: bool, json: bool) -> None:
    if json:
        print_json({"open": done.open, "discarded": done.discarded, "stopped": done.stopped})
    elif dry_run:
        typer.echo(f"would discard {counted(done.open, 'dead letter')}")
    else:
        typer.echo(f"{counted(done.discarded, 'dead letter')} discarded")
    if not done.open:
        typer.echo("No open dead letter matches.", err=True)
    if done.stopped:
        typer.echo(
            f"stopped: {done.stopped}; {done.left} left: repeat the command to go on", err=True
        )
