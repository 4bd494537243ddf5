"""`dead-letters discard`: puts letters away that nobody will replay."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import typer

from worker.adapters.postgres.dead_letters.commands import acting
from worker.adapters.postgres.operator.audit import Entry
from worker.adapters.postgres.operator.errors import told_operator
from worker.adapters.postgres.sessions import connector
from worker.cli.dead_letters import filters, options
from worker.cli.dead_letters.format_values import counted
from worker.cli.dead_letters.progress import progress
from worker.cli.exits import PARTLY_FAILED, UNAVAILABLE, failure
from worker.cli.settings import ConfigOption, settings_of
from worker.core.exceptions import LedgerUnavailable, RowsRefused

if TYPE_CHECKING:
    from worker.core.dead_letters.commands import Actor
    from worker.core.dead_letters.filters import Selection
    from worker.settings import Settings

_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Asked:
    settings: Settings
    selection: Selection
    actor: Actor
    dry_run: bool
    yes: bool


@dataclass(slots=True)
class _Done:
    """How many were open, how many are discarded, and why it stopped before its time."""

    open: int = 0
    discarded: int = 0
    left: int = 0
    stopped: str | None = None


def discard(
    ids: options.IdsArgument = None,
    *,
    group: filters.GroupOption = None,
    letter_reason: filters.LetterReasonOption = None,
    error: filters.ErrorOption = None,
    since: filters.SinceOption = None,
    until: filters.UntilOption = None,
    seller: filters.SellerOption = None,
    message_id: filters.MessageIdOption = None,
    redeemable: filters.RedeemableOption = False,
    everything: options.AllOption = False,
    dry_run: options.DryRunOption = False,
    reason: options.WhyOption = None,
    actor: options.ActorOption = None,
    yes: options.YesOption = False,
    config: ConfigOption = None,
    json: filters.JsonOption = False,
) -> None:
    """Puts open letters away, with a reason; their history stays until retention prunes it.

    They are no longer counted, nor replayed by a filter. Letters that are being replayed are left
    alone. Exits with 1 if it stopped early, or if a letter that was named could not be discarded.
    """
    selection = filters.chosen(
        ids=ids,
        group=group,
        reason=letter_reason,
        error=error,
        since=since,
        until=until,
        seller=seller,
        message_id=message_id,
        redeemable=redeemable,
    )
    meant = options.meant(selection, everything=everything)
    who = options.who(actor, reason, needed=not dry_run)
    done = _run(_Asked(settings_of(config), meant, who, dry_run, yes))
    _tell(done, dry_run=dry_run, json=json)
    short = meant.ids and not dry_run and done.discarded < len(meant.ids)
    raise typer.Exit(PARTLY_FAILED if done.stopped or short else 0)


def _run(asked: _Asked) -> _Done:
    try:
        return asyncio.run(_act(asked))
    except (LedgerUnavailable, RowsRefused) as error:
        raise failure(f"{told_operator(str(error))}; nothing was discarded", UNAVAILABLE) from None


async def _act(asked: _Asked) -> _Done:
    connect = connector(asked.settings.current_postgres_dsn, command_seconds=30.0)
    async with acting(connect) as letters:
        await letters.group()
        await options.require_known(letters, asked.selection.ids)
        done = _Done(await letters.discardable(asked.selection))
        done.left = done.open
        if asked.dry_run or not done.open:
            return done
        options.confirm(f"Discard {counted(done.open, 'letter')}?", yes=asked.yes)
        await _discard(asked, letters, done)
    return done


async def _discard(asked: _Asked, letters: Any, done: _Done) -> None:
    subject = {"selection": asked.selection.described(), "letters": done.open}
    began = await letters.record(Entry(*asked.actor, "dead-letters.discard", subject))
    after = 0
    with options.stopping_on_signals() as stopping, progress("discarding", done.open) as tell:
        try:
            while not stopping.is_set() and (
                batch := await letters.discard(
                    asked.selection, asked.actor, failed_until=began, after=after, most=_BATCH
                )
            ):
                done.discarded, after = done.discarded + len(batch), batch[-1]
                tell(done.discarded)
            if stopping.is_set():
                done.stopped = "interrupted"
        except LedgerUnavailable as error:
            done.stopped = told_operator(str(error))
    done.left = max(0, done.open - done.discarded)
    await _record_end(asked, letters, done)


async def _record_end(asked: _Asked, letters: Any, done: _Done) -> None:
    subject = {"discarded": done.discarded, "stopped": done.stopped is not None}
    try:
        await letters.record(Entry(*asked.actor, "dead-letters.discard.end", subject))
    except LedgerUnavailable as error:
        done.stopped = done.stopped or told_operator(str(error))


def _tell(done: _Done, *, dry_run: bool, json: bool) -> None:
    if json:
        told = {"open": done.open, "discarded": done.discarded, "stopped": done.stopped}
        typer.echo(orjson.dumps(told).decode())
    elif dry_run:
        typer.echo(f"would discard {counted(done.open, 'letter')}")
    else:
        typer.echo(f"{counted(done.discarded, 'letter')} discarded")
    if not done.open:
        typer.echo("No open dead letter matches.", err=True)
    if done.stopped:
        words = f"stopped: {done.stopped}; {done.left} left: repeat the command to go on"
        typer.echo(words, err=True)
