"""`dead-letters replay`: publishes dead letters again, once what made them fail is corrected."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from worker.app.dead_letters import ReplayRequest
from worker.app.dead_letters import replay as carry_out
from worker.app.hidden import hidden
from worker.cli.dead_letters import filters, replay_format, shared
from worker.cli.dead_letters.format_values import counted
from worker.cli.exits import BAD_CONFIGURATION, PARTLY_FAILED, UNAVAILABLE, failure
from worker.cli.options import ConfigOption, JsonOption, OptionGroup, seconds, with_option_groups
from worker.cli.printing import print_json
from worker.cli.running import progress
from worker.cli.settings import settings_of
from worker.core.dead_letters.replay import MOST_CANARIES, Eligibility
from worker.core.exceptions import BrokerUnavailable
from worker.core.token.verdict import AWS_LIFETIME

if TYPE_CHECKING:
    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.adapters.sealing import Opener
    from worker.core.dead_letters.commands import Account, Actor, Preview
    from worker.core.dead_letters.filters import Selection
    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How a replay is to publish, as it was typed."""

    canary: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_CANARIES,
            metavar="N",
            help="So many first, through the live lane; the rest only if all of them resolve.",
        ),
    ] = 0
    canary_wait: Annotated[
        str, typer.Option(metavar="SPAN", help="How long to wait for the canaries' outcomes.")
    ] = "60s"
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, max=100_000, metavar="N", help="Most dead letters a second."),
    ] = None
    abort_on_failures: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            metavar="PERCENT",
            help="Stop once more of the outcomes so far are failures; works best with --rate.",
        ),
    ] = None
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most dead letters to replay.")
    ] = None
    patience: Annotated[
        str,
        typer.Option(
            metavar="SPAN", help="How long to retry while the broker or the database is away."
        ),
    ] = "20s"

    def __post_init__(self) -> None:
        """Refuse a span that can't be read before anything else is looked at."""
        seconds("--canary-wait", self.canary_wait)
        seconds("--patience", self.patience)

    def request(
        self, selection: Selection, actor: Actor, keys: tuple[str, ...], margin: timedelta
    ) -> ReplayRequest:
        """Return what is to be replayed, and how; see `ReplayRequest`."""
        return ReplayRequest(
            selection=selection,
            actor=actor,
            keys=keys,
            canary=self.canary,
            canary_seconds=seconds("--canary-wait", self.canary_wait),
            rate=self.rate,
            abort_percent=self.abort_on_failures,
            limit=self.limit,
            margin=margin,
            retry_for_seconds=seconds("--patience", self.patience),
        )


_Options: TypeAlias = Annotated[ReplayOptions, OptionGroup(ReplayOptions)]


@dataclass(frozen=True, slots=True)
class _Replay:
    """What was asked for, checked, and what it takes."""

    settings: Settings
    request: ReplayRequest
    opener: Opener | None = field(repr=False)
    dry_run: bool
    yes: bool
    json: bool


@with_option_groups
def replay(
    selection: filters.ToActUpon,
    intent: shared.IntentOptions,
    options: _Options,
    *,
    yes: shared.YesOption = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Publishes dead letters again, into the backlog lane, the oldest failures first.

    For when the cause was corrected: begin with --dry-run, go on with --canary. A replayed token is
    always called for; what fails again comes back with its history, what resolves is closed. Tokens
    too late to save are left out: their buyers must click through again.

    Each dead letter is claimed before it is published. If it is killed, or loses the broker or the
    database, the same command goes on where it was; two at once share the work. Opens payloads with
    WORKER_DEAD_LETTERS__OPEN_KEYS.

    Exits with 1 if it stopped early or refused dead letters, 69 if the broker or the database is
    away, 78 without a key that fits.
    """
    settings = settings_of(config)
    opener = None
    if not intent.dry_run or settings.dead_letters.open_keys:
        opener = shared.opener_of(settings)
    keys = () if opener is None else opener.key_ids
    margin = AWS_LIFETIME - timedelta(seconds=settings.token.lifetime)
    request = options.request(selection, intent.who, keys, margin)
    asked = _Replay(settings, request, opener, intent.dry_run, yes, json)
    try:
        code = shared.act(settings, lambda commands: _act(commands, asked), "nothing was replayed")
    except BrokerUnavailable as error:
        raise failure(f"{error}; nothing was replayed", UNAVAILABLE) from None
    raise typer.Exit(code)


async def _act(commands: DeadLetterCommands, asked: _Replay) -> int:
    """Look first, then replay; return the exit code."""
    request = asked.request
    if request.selection.groups or not asked.dry_run:
        await commands.group()
    await shared.require_known(commands, request.selection.ids)
    if not asked.dry_run:
        await commands.reconcile()
    preview = await commands.preview(request.selection, request.margin, request.keys)
    if not preview.letters:
        typer.echo(f"No dead letter matches ({request.selection.words()}).", err=True)
    if asked.dry_run:
        _show(preview, asked)
        return 0
    if not preview.count(Eligibility.READY, Eligibility.CLAIMED):
        return _end_without(preview)
    account = await _publish(commands, asked, preview)
    if asked.json:
        print_json(replay_format.account_members(account, preview))
    else:
        replay_format.print_account(account)
    return _code(account, preview, request.selection)


def _show(preview: Preview, asked: _Replay) -> None:
    if asked.json:
        print_json(replay_format.preview_members(preview))
    elif preview.letters:
        replay_format.print_preview(preview)
    if asked.opener is None:
        typer.echo("the replay itself needs WORKER_DEAD_LETTERS__OPEN_KEYS", err=True)


def _end_without(preview: Preview) -> int:
    """Return the exit code where nothing can be replayed, and say why."""
    if not preview.letters:
        return 0
    _print_left_out(preview, claimed=True)
    typer.echo("nothing was replayed", err=True)
    return BAD_CONFIGURATION if preview.count(Eligibility.LOCKED) else PARTLY_FAILED


def _print_left_out(preview: Preview, *, claimed: bool) -> None:
    for line in replay_format.left_out(preview, claimed=claimed):
        typer.echo(line, err=True)


async def _publish(commands: DeadLetterCommands, asked: _Replay, preview: Preview) -> Account:
    from worker.app.dead_letters.publisher import ReplayPublisher  # noqa: PLC0415 - slow to import

    assert asked.opener is not None
    request = asked.request
    # Those claimed by another replay may become free: what is left of them is shown at the end.
    _print_left_out(preview, claimed=False)
    count = preview.count(Eligibility.READY, Eligibility.CLAIMED)
    count = count if request.limit is None else min(count, request.limit)
    shared.confirm(f"Replay {counted(count, 'dead letter')}?", yes=asked.yes)
    with shared.stopping_after_batch() as stopping, progress("replaying", count) as show:
        url = hidden(asked.settings.current_amqp_url)
        publisher = ReplayPublisher(url, request.retry_for_seconds, stopping)
        try:
            await publisher.open()
            return await carry_out(
                request,
                commands,
                asked.opener,
                publisher,
                chosen=preview.ready,
                show=lambda account: show(account.published),
                stopping=stopping,
            )
        finally:
            await publisher.close()


def _code(account: Account, preview: Preview, selection: Selection) -> int:
    """Return the exit code: named dead letters must all be replayed, others only if they can be."""
    if account.stopped or account.refused or account.unmarked or account.held:
        return PARTLY_FAILED
    short = preview.left_out().keys() - {Eligibility.CLAIMED, Eligibility.UNDER_WAY}
    failed = short if selection.ids else short & {Eligibility.LOCKED}
    return PARTLY_FAILED if failed else 0
