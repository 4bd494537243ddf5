"""`dead-letters replay`: publishes letters anew, once what made them fail is mended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from worker.adapters.postgres.dead_letters.commands import acting
from worker.adapters.postgres.operator.errors import told_operator
from worker.adapters.postgres.sessions import connector
from worker.app.dead_letters import Order
from worker.app.dead_letters import replay as carry_out
from worker.app.dead_letters.publisher import ReplayPublisher
from worker.cli.dead_letters import filters, options, report
from worker.cli.dead_letters.preview import left_out, preview_members, print_preview
from worker.cli.dead_letters.progress import progress
from worker.cli.dead_letters.report import code
from worker.cli.exits import BAD_CONFIGURATION, PARTLY_FAILED, UNAVAILABLE, failure
from worker.cli.settings import ConfigOption, settings_of
from worker.core.dead_letters.replay import Fate
from worker.core.exceptions import BrokerUnavailable, LedgerUnavailable, RowsRefused
from worker.core.token.verdict import AWS_LIFETIME
from worker.settings.durations import parse

if TYPE_CHECKING:
    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.adapters.sealing import Opener
    from worker.core.dead_letters.commands import Account, Preview
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked for, checked."""

    settings: Settings
    order: Order
    opener: Opener | None = field(repr=False)
    dry_run: bool
    yes: bool
    json: bool


def replay(
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
    canary: Annotated[
        int,
        typer.Option(
            min=0,
            max=20,
            metavar="N",
            help="So many first, through the live lane; the rest only if all of them resolve.",
        ),
    ] = 0,
    canary_wait: Annotated[
        str, typer.Option(metavar="SPAN", help="How long the canaries' outcomes are awaited.")
    ] = "60s",
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, max=100_000, metavar="N", help="Most letters a second."),
    ] = None,
    abort_on_failures: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            metavar="PERCENT",
            help="Stop once more of the outcomes so far are failures; goes best with --rate.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most letters to replay.")
    ] = None,
    patience: Annotated[
        str,
        typer.Option(
            metavar="SPAN", help="How long a broker or database that is away is waited for."
        ),
    ] = "20s",
    reason: options.WhyOption = None,
    actor: options.ActorOption = None,
    yes: options.YesOption = False,
    config: ConfigOption = None,
    json: filters.JsonOption = False,
) -> None:
    """Publishes dead letters anew into the backlog lane, the oldest failures first.

    For the time after the cause was mended: begin with --dry-run, go on with --canary. A replayed
    token is always called for; what fails again comes back with its history, what resolves is
    closed. Tokens past saving are left out: their buyers must click through again.

    Each letter is claimed before it is published. Killed, or left by the broker or the database,
    the same command goes on where it was; two at once share the letters out. Opens payloads with
    WORKER_DEAD_LETTERS__OPEN_KEYS.

    Exits with 1 if it stopped early or refused letters, 69 if broker or database are away, 78
    without a key that fits.
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
    wait, patient = _seconds("--canary-wait", canary_wait), _seconds("--patience", patience)
    settings = settings_of(config)
    opener = _opener(settings, needed=not dry_run)
    order = Order(
        selection=meant,
        actor=who,
        keys=() if opener is None else opener.key_ids,
        canary=canary,
        canary_seconds=wait,
        rate=rate,
        abort_percent=abort_on_failures,
        limit=limit,
        margin=_margin(settings),
        patience_seconds=patient,
    )
    asked = _Asked(settings, order, opener, dry_run, yes, json)
    raise typer.Exit(_run(asked))


def _seconds(option: str, text: str) -> float:
    try:
        return parse(text).seconds
    except ValueError as error:
        raise failure(f"{option} {error}", filters.WRONG_USAGE) from None


def _margin(settings: Settings) -> timedelta:
    return AWS_LIFETIME - timedelta(seconds=settings.token.lifetime)


def _opener(settings: Settings, *, needed: bool) -> Opener | None:
    if not needed and not settings.dead_letters.open_keys:
        return None
    return options.opener_of(settings)


def _run(asked: _Asked) -> int:
    try:
        return asyncio.run(_act(asked))
    except BrokerUnavailable as error:
        raise failure(f"{error}; nothing was replayed", UNAVAILABLE) from None
    except (LedgerUnavailable, RowsRefused) as error:
        raise failure(f"{told_operator(str(error))}; nothing was replayed", UNAVAILABLE) from None


async def _act(asked: _Asked) -> int:
    order = asked.order
    connect = connector(asked.settings.current_postgres_dsn, command_seconds=30.0)
    async with acting(connect) as letters:
        if order.selection.groups or not asked.dry_run:
            await letters.group()
        await options.require_known(letters, order.selection.ids)
        if not asked.dry_run:
            await letters.reconcile()
        preview = await letters.preview(order.selection, order.margin, order.keys)
        if asked.dry_run:
            return _show(preview, asked)
        if (code := _ends_here(preview, asked)) is not None:
            return code
        account = await _publish(asked, letters, preview)
    _tell(account, preview, asked)
    return _code(account, preview, asked)


def _show(preview: Preview, asked: _Asked) -> int:
    if not preview.letters:
        _say_empty(asked)
    if asked.json:
        _print_json(preview_members(preview))
    elif preview.letters:
        print_preview(preview)
    if asked.opener is None:
        typer.echo("the replay itself needs WORKER_DEAD_LETTERS__OPEN_KEYS", err=True)
    return 0


def _say_empty(asked: _Asked) -> None:
    typer.echo(f"No dead letter matches ({asked.order.selection.words()}).", err=True)


def _ends_here(preview: Preview, asked: _Asked) -> int | None:
    """The exit code where there is nothing to be replayed."""
    if not preview.letters:
        _say_empty(asked)
        return 0
    if preview.count(Fate.READY, Fate.CLAIMED):
        return None
    _say_left_out(preview)
    typer.echo("nothing was replayed", err=True)
    return BAD_CONFIGURATION if preview.count(Fate.LOCKED) else PARTLY_FAILED


def _say_left_out(preview: Preview, *, waiting: bool = False) -> None:
    """What is left out; of what another replay holds only the end can tell."""
    for line in left_out(preview, held=not waiting):
        typer.echo(line, err=True)


def _count(preview: Preview, limit: int | None) -> int:
    most = preview.count(Fate.READY, Fate.CLAIMED)
    return most if limit is None else min(most, limit)


async def _publish(asked: _Asked, letters: DeadLetterCommands, preview: Preview) -> Account:
    assert asked.opener is not None
    _say_left_out(preview, waiting=True)
    count = _count(preview, asked.order.limit)
    options.confirm(f"Replay {count} letters?", yes=asked.yes)
    with options.stopping_on_signals() as stopping, progress("replaying", count) as tell:
        url, patience = asked.settings.current_amqp_url, asked.order.patience_seconds
        outlet = ReplayPublisher(url, patience, stopping)
        try:
            await outlet.open()
            return await carry_out(
                asked.order,
                letters,
                asked.opener,
                outlet,
                chosen=preview.ready,
                tell=lambda account: tell(account.published),
                stopping=stopping,
            )
        finally:
            await outlet.close()


def _tell(account: Account, preview: Preview, asked: _Asked) -> None:
    if asked.json:
        _print_json(report.account_members(account, preview))
    else:
        report.print_account(account)


def _code(account: Account, preview: Preview, asked: _Asked) -> int:
    """Letters that were named must all have gone; of a filter's only those that could."""
    short = preview.left_out().keys() - {Fate.CLAIMED, Fate.UNDER_WAY}
    failed = short if asked.order.selection.ids else short & {Fate.LOCKED}
    return PARTLY_FAILED if failed else code(account)


def _print_json(members: dict[str, object]) -> None:
    typer.echo(orjson.dumps(members).decode())
