"""`topology`: declares exchanges and queues, shows their state, and makes the broker's users."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads the annotation at run time
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.adapters.rabbitmq import declaration, management, probing
from worker.app import broker_users
from worker.app.diagnosis import broker
from worker.app.diagnosis import broker_users as broker_checks
from worker.app.diagnosis.finding import Failed
from worker.cli import lost_queues
from worker.cli.exits import BAD_CONFIGURATION, PARTLY_FAILED, UNAVAILABLE, failure
from worker.cli.options import ConfigOption, JsonOption
from worker.cli.printing import print_json
from worker.cli.settings import settings_of
from worker.core.exceptions import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence

    from worker.adapters.rabbitmq.declaration import Declared, Row
    from worker.adapters.rabbitmq.permissions import Rights
    from worker.adapters.rabbitmq.policies import Harm
    from worker.app.broker_users import Made
    from worker.settings import Settings

_T = TypeVar("_T")


def declare(config: ConfigOption = None) -> None:
    """Declares what is missing; leaves alone what is there, and deletes nothing.

    Uses WORKER_AMQP__ADMIN_URL, and WORKER_RETRY__DELAYS for the retry queues. Safe to run twice.
    Asks the database whether a queue that it created had been there before, as far as it can.
    """
    settings = settings_of(config)
    try:
        done = _ask(declaration.declare(settings.current_amqp_admin_url(), broker.wanted(settings)))
    except declaration.TopologyFault as fault:
        _conclude_declaring(settings, fault.done)
        raise failure(str(fault), PARTLY_FAILED) from None
    _conclude_declaring(settings, done)


def _conclude_declaring(settings: Settings, done: Sequence[Declared]) -> None:
    _print_done(done)
    created = [each.name for each in done if (each.kind, each.action) == ("queue", "created")]
    lost_queues.note_created(settings, created)


def show(
    config: ConfigOption = None,
    *,
    json: JsonOption = False,
) -> None:
    """Shows each exchange and queue, and the first thing that differs; changes nothing.

    Exits with 1 if anything is missing or differs, or a policy makes our queues lose messages, as
    far as WORKER_AMQP__MANAGEMENT_URL lets policies be looked at. What this user may not compare is
    unchecked, which is not a failure. Bindings can't be read over AMQP: if messages come back as
    unroutable, run `topology declare`, which makes them again.
    """
    settings = settings_of(config)
    url = settings.current_amqp_admin_url()
    rows = _ask(declaration.show(url, broker.wanted(settings)))
    found = asyncio.run(_policies(settings))
    if json:
        print_json([asdict(row) | {"policies": _texts(row.name, found)} for row in rows])
    else:
        _print_table(rows)
    _conclude(rows, url)
    if found:
        texts = "\n".join(each.text for each in found)
        raise failure(f"{texts}\n-> {broker_checks.policy_remedy(found)}", PARTLY_FAILED)


async def _policies(settings: Settings) -> list[Harm] | None:
    """What policies do to our queues; None, and why, where that can't be asked."""
    if settings.amqp.management_url is None:
        typer.echo(f"Policies were not looked at, {broker_checks.NOT_LOOKED_AT}.", err=True)
        return None
    try:
        return (await broker_checks.policy_harms(settings))[0]
    except Failed as failed:
        typer.echo(f"Policies were not looked at: {failed}; {failed.remedy}", err=True)
        return None


def _texts(queue: str, found: list[Harm] | None) -> list[str] | None:
    return None if found is None else [each.text for each in found if queue in each.queues]


def users(
    passwords: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="A file for each user to make.")
    ],
    config: ConfigOption = None,
    *,
    caller: Annotated[
        list[str] | None,
        typer.Option(help="A web tier that waits for replies; may be repeated. [resolution_web]"),
    ] = None,
    suffix: Annotated[str, typer.Option(help="Ends each user's name, for a second host.")] = "",
) -> None:
    """Makes the broker's users with their rights, and the policy of our queues.

    Uses WORKER_AMQP__MANAGEMENT_URL, and the virtual host of WORKER_AMQP__ADMIN_URL, which it makes
    if it is missing. In PASSWORDS each file is named like its user and holds the password; users
    without one are left out, and a password that is set is not changed. Safe to run twice.
    """
    settings = settings_of(config)
    url = settings.current_amqp_management_url()
    if url is None:
        raise failure(
            "WORKER_AMQP__MANAGEMENT_URL is not set: it is the address of the broker's management "
            "interface, with an administrator's user and password",
            BAD_CONFIGURATION,
        )
    try:
        wanted = broker_users.planned(caller or ["resolution_web"], suffix)
    except broker_users.BadName as error:
        raise typer.BadParameter(str(error)) from None
    made = asyncio.run(_make_users(url, settings.current_amqp_admin_url(), wanted, passwords))
    for one in made:
        detail = f": {one.detail}" if one.detail else ""
        typer.echo(f"{one.action:<9}  {one.user}{detail}", err=True)
    if any(one.action == "refused" for one in made):
        raise typer.Exit(PARTLY_FAILED)


async def _make_users(
    url: str, amqp_url: str, wanted: Mapping[str, Rights], passwords: Path
) -> list[Made]:
    try:
        async with management.management(url) as interface:
            vhost = probing.who_and_where(amqp_url)[1]
            return await broker_users.make(interface, vhost, wanted, passwords)
    except management.ManagementUnavailable as error:
        raise failure(f"WORKER_AMQP__MANAGEMENT_URL: {error}", UNAVAILABLE) from None
    except management.ManagementRefused as error:
        raise failure(f"WORKER_AMQP__MANAGEMENT_URL: {error}", PARTLY_FAILED) from None
    except (OSError, ValueError) as error:
        raise failure(f"{passwords}: a file can't be read: {error}", PARTLY_FAILED) from None


def _conclude(rows: Sequence[Row], url: str) -> None:
    """Print what to do, and end the command if anything is missing or differs."""
    if any(row.state == "unchecked" for row in rows):
        typer.echo(
            "What is unchecked may be correct: to compare it, set WORKER_AMQP__ADMIN_URL to a user "
            "who may declare (see deploy/rabbitmq).",
            err=True,
        )
    if remedies := broker.remedies(rows, url):
        raise failure(
            f"Something is missing or differs: {'; then '.join(remedies)}.", PARTLY_FAILED
        )


def _ask(asking: Coroutine[object, object, _T]) -> _T:
    try:
        return asyncio.run(asking)
    except BrokerUnavailable as error:
        raise failure(str(error), UNAVAILABLE) from None


def _print_done(done: Iterable[Declared]) -> None:
    for one in done:
        typer.echo(f"{one.action:<9}  {one.kind:<8}  {one.name}", err=True)


_HEADINGS: Final = ("kind", "name", "state", "messages", "consumers", "detail")


def _cells(row: Row) -> tuple[str, ...]:
    counts = ("" if count is None else str(count) for count in (row.messages, row.consumers))
    return (row.kind, row.name, row.state, *counts, row.detail)


def _print_table(rows: Sequence[Row]) -> None:
    printer = _print_rich if sys.stdout.isatty() else _print_plain
    printer([_cells(row) for row in rows])


def _print_plain(lines: Sequence[tuple[str, ...]]) -> None:
    table = (_HEADINGS, *lines)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(padded).rstrip())


_COLOURS: Final = {"ok": "green", "missing": "red", "differs": "red"}


def _print_rich(lines: Sequence[tuple[str, ...]]) -> None:
    table = Table(*_HEADINGS)
    for line in lines:
        style = _COLOURS.get(line[2], "yellow")
        table.add_row(*(Text(cell, style if cell == line[2] else "") for cell in line))
    Console().print(table)
