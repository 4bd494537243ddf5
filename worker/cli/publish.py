"""`publish`: tokens from a file or standard input onto the broker, with confirms."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
)

from worker.adapters.rabbitmq.bulk import MOST_IN_A_BATCH, Bulk, Item
from worker.cli.exits import PARTLY_FAILED, UNAVAILABLE, failure
from worker.cli.line_results import Accounts
from worker.cli.settings import ConfigOption, settings_of
from worker.cli.submission_lines import BadLine, Lines
from worker.core.exceptions import BrokerUnavailable
from worker.core.records import Lane
from worker.settings.durations import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO


_WRONG_USAGE: Final = 2


class _LaneName(StrEnum):
    LIVE = "live"
    BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was asked for, checked."""

    url: Callable[[], str]
    lane: _LaneName
    patience_seconds: float


def publish(
    file: Annotated[
        Path,
        typer.Argument(metavar="[FILE]", help="One token or submission a line; - is stdin."),
    ] = Path("-"),
    *,
    lane: Annotated[
        _LaneName, typer.Option(help="live: a buyer is waiting; backlog: whenever there is room.")
    ] = _LaneName.LIVE,
    patience: Annotated[
        str, typer.Option(help="How long to keep trying while the broker is away or full.")
    ] = "30s",
    config: ConfigOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the account as JSON.")] = False,
) -> None:
    """Publishes tokens, each confirmed by the broker; never takes a token as an argument.

    A line that starts with { is a submission: a JSON object with registration_token and, besides
    the members of a submission, message_id, correlation_id and reply_to. Any other line is a token.
    Blank lines are skipped. What can't be read is named by its line number, and the rest goes on;
    whether a submission is well-formed in all else is for the worker to say. A line may be
    published twice if the connection is lost, never lost while this says it was published.

    Exits with 1 if some lines were not published, and says how to publish those alone.
    """
    plan = _plan(lane, patience, config)
    with _opened(file) as source:
        accounts = _run(plan, source)
    _print_json(accounts) if json else typer.echo(accounts.counts(), err=True)
    for fault in accounts.faults(None if file == Path("-") else str(file), lane.value):
        typer.echo(fault, err=True)
    if not accounts.is_complete:
        raise typer.Exit(PARTLY_FAILED)


def _plan(lane: _LaneName, patience: str, config: Path | None) -> _Plan:
    try:
        seconds = parse(patience).seconds
    except ValueError as error:
        raise failure(f"--patience {error}", _WRONG_USAGE) from None
    return _Plan(settings_of(config).current_amqp_url, lane, seconds)


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
            "input, never as an argument: lists of processes would show them.",
            _WRONG_USAGE,
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
    bulk = Bulk(plan.url, accounts, plan.patience_seconds)
    with ExitStack() as stack:
        stack.enter_context(_stopping_on_signals(lines, bulk.stop, accounts))
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
def _stopping_on_signals(
    lines: Lines, stop: Callable[[], None], accounts: Accounts
) -> Iterator[None]:
    """The first signal stops in order; a second one ends the program as usual."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def on_signal() -> None:
        accounts.stopped = "interrupted"
        lines.stop()
        stop()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextmanager
def _progress(source: BinaryIO) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, by bytes read; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    total = os.fstat(source.fileno()).st_size or None
    columns = ("publishing", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("publishing", total=total)
        yield lambda count: progress.update(task, completed=count)


def _print_json(accounts: Accounts) -> None:
    typer.echo(orjson.dumps(accounts.as_dict()).decode())
