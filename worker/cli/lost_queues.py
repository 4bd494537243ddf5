"""Queues that went missing: noticed by `topology declare`, ended by `topology acknowledge`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.adapters.postgres.operator import lost_queues
from worker.adapters.postgres.operator.errors import DatabaseFault
from worker.adapters.postgres.operator.session import operating
from worker.app.lost_queues import ACKNOWLEDGE
from worker.cli.control import audit_context, change, checked_reason
from worker.cli.fleet_lines import moment
from worker.cli.options import ActorOption, ConfigOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.settings import Settings


def acknowledge(
    reason: Annotated[
        str, typer.Option(metavar="TEXT", callback=checked_reason, help="Why, for the audit.")
    ],
    actor: ActorOption = None,
    config: ConfigOption = None,
) -> None:
    """Ends the message that queues went missing and messages in them may be lost; audited.

    To be run once somebody knows why, and who may be without an answer. Declares nothing.
    """
    context = audit_context(actor, reason)
    ended = change(
        config, lambda session: lost_queues.acknowledge(session, context.actor, context.reason)
    )
    for queue, since in ended.items():
        typer.echo(f"acknowledged: {queue}, missing since {moment(since)}", err=True)
    if not ended:
        typer.echo("no queue went missing", err=True)


def note_created(settings: Settings, queues: Sequence[str]) -> None:
    """Say which of the queues that were just created had been there before."""

    async def asking() -> list[str]:
        async with operating(settings.current_postgres_dsn) as session:
            return await lost_queues.note_created(session, queues)

    if not queues:
        return
    try:
        before = asyncio.run(asking())
    except DatabaseFault as fault:
        typer.echo(
            "On a new broker this is all. If one of these queues had been there before, messages "
            f"in it are lost; only the database knows, and it could not be asked: {fault.line}",
            err=True,
        )
        return
    if before:
        typer.echo(
            f"{', '.join(before)} had been there before: messages may be lost. Find out what "
            f"deleted it, then run {ACKNOWLEDGE}",
            err=True,
        )
