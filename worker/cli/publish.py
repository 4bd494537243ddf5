"""`publish`: tokens from a file or standard input onto the broker, with confirms."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.adapters.rabbitmq.bulk import MOST_IN_A_BATCH, Bulk, Item
from worker.app.hidden import hidden
from worker.cli.exits import PARTLY_FAILED, UNAVAILABLE, WRONG_USAGE, failure
from worker.cli.line_results import Accounts
from worker.cli.options import ConfigOption, JsonOption, seconds
from worker.cli.printing import print_json
from worker.cli.running import stopping_on_signals
from worker.cli.settings import settings_of
from worker.cli.submission_lines import BadLine, Lines
from worker.core.exceptions import BrokerUnavailable
from worker.core.records import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO


class _LaneName(StrEnum):
    LIVE = "live"
    BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was asked for, checked."""

    url: Callable[[], str]
    lane: _LaneName
    retry_for_seconds: float


def publish(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="One token or submission a line; - is standard input."),
    ] = Path("-"),
    *,
    lane: Annotated[
        _LaneName, typer.Option(help="live: a buyer is waiting; backlog: when there is capacity.")
    ] = _LaneName.LIVE,
    patience: Annotated[
        str, typer.Option(help="How long to retry while the broker is away or full.")
    ] = "30s",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Publishes tokens, each confirmed by the broker; never takes a token as an argument.

    A line that starts with { is a submission: a JSON object with registration_token and, besides
    the members of a submission, message_id, correlation_id and reply_to. Any other line is a token.
    Blank lines are skipped. A line that can't be read is reported by its number, and the rest goes
    on; everything else about a submission is checked by the worker. If the connection is lost a
    line may be published twice, but no line that is reported as published is lost.

    Exits with 1 if some lines were not published, and shows how to publish only those.
    """
    plan = _plan(lane, patience, config)
    with _opened(file) as source:
        accounts = _run(plan, source)
    print_json(accounts.as_dict()) if json else typer.echo(accounts.counts(), err=True)
    for fault in accounts.faults(None if file == Path("-") else str(file), lane.value):
        typer.echo(fault, err=True)
    if not accounts.is_complete:
        raise typer.Exit(PARTLY_FAILED)


def _plan(lane: _LaneName, patience: str, config: Path | None) -> _Plan:
    retry_for = seconds("--patience", patience)
    return _Plan(hidden(settings_of(config).current_amqp_url), lane, retry_for)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if file == Path("-"):
        if sys.stdin.isatty():
            typer.echo("Reading tokens from the terminal, one a line; Ctrl-D ends.", err=True)
        yield sys.stdin.buffer
        return
    try:
        opened = file.open("rb", buffering=0)
    except OSError as error:
        # Not the name: it may be a token that was given by mistake.
        raise failure(
            f"FILE can't be read: {error.strerror}. Tokens come from a file or from standard "
            "input, never as an argument, which lists of processes would show.",
            WRONG_USAGE,
        ) from None
    with opened:
        yield opened


def _run(plan: _Plan, source: BinaryIO) -> Accounts:
    try:
        return asyncio.run(_publish(plan, source))
    except BrokerUnavailable as error:
        raise failure(str(error), UNAVAILABLE) from None


async def _publish(plan: _Plan, source: BinaryIO) -> Accounts:
    lane = next(lane for lane in Lane if lane.label == plan.lane)
    lines = Lines(source.fileno(), lane, MOST_IN_A_BATCH)
    accounts = Accounts()
    bulk = Bulk(plan.url, accounts, plan.retry_for_seconds)

    def interrupt() -> None:
        accounts.stopped = "interrupted"
        lines.stop()
        bulk.stop()

    with ExitStack() as stack:
        stack.enter_context(stopping_on_signals(interrupt))
        show = stack.enter_context(_progress(source))
        await bulk.run(lambda: _next_batch(lines, accounts, show))
    accounts.stopped = bulk.gave_up or accounts.stopped
    if accounts.stopped:
        accounts.resume_from_line = lines.next_number
    return accounts


async def _next_batch(
    lines: Lines, accounts: Accounts, show: Callable[[int], None]
) -> Sequence[Item]:
    while batch := await lines.batch():
        show(lines.bytes_read)
        items = []
        for line in batch:
            if isinstance(line.message, BadLine):
                accounts.refused(line.number, str(line.message))
            else:
                items.append(Item(line.number, line.message))
        if items:
            return items
    return ()


@contextmanager
def _progress(source: BinaryIO) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, by bytes read; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from worker.cli.bar import bar  # noqa: PLC0415 - slow to import

    total = os.fstat(source.fileno()).st_size or None
    with bar("publishing", total, is_bytes=True) as show:
        yield show
