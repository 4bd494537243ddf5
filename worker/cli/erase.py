"""`erase`: removes what is stored of one customer."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from worker.adapters.postgres.operator import erasure
from worker.adapters.postgres.operator.erasure import Request
from worker.adapters.postgres.operator.errors import told_line
from worker.adapters.postgres.sessions import connector
from worker.cli.actor import actor as actor_of
from worker.cli.exits import PARTLY_FAILED, UNAVAILABLE, WRONG_USAGE, failure
from worker.cli.options import ActorOption, ConfigOption, DryRunOption, JsonOption
from worker.cli.printing import print_json
from worker.cli.settings import settings_of
from worker.core.exceptions import LedgerUnavailable, RowsRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.adapters.postgres.operator.erasure import Erased

_LONGEST_CUSTOMER: Final = 255
_LONGEST_REASON: Final = 1000
_QUEUES: Final = (
    "Not reached: messages that still wait in queues, replies and events already sent, backups. "
    "A token that is resolved later is stored anew; then erase again."
)
_ROWS: Final = (
    ("outcomes", "tokens in the ledger"),
    ("customers", "customers"),
    ("agreements", "agreements"),
    ("letters", "dead letters, with their metadata"),
    ("events", "entries in their histories, and events not sent yet"),
    ("malformed", "notes of unreadable messages"),
    ("mentions", "other texts, without the name now"),
)


_Customer: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="ACCOUNT",
        help="AWS account id of 12 digits, or a CustomerIdentifier.",
        show_default=False,
    ),
]
_Reason: TypeAlias = Annotated[
    str,
    typer.Option(
        help="Why, for the audit: a ticket, say. It must not name the customer.",
        show_default=False,
    ),
]
_Seller: TypeAlias = Annotated[
    str | None, typer.Option(help="Only of this seller; else of all sellers.")
]
_Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]


def erase(
    customer: _Customer,
    reason: _Reason,
    actor: ActorOption = None,
    seller: _Seller = None,
    config: ConfigOption = None,
    *,
    dry_run: DryRunOption = False,
    yes: _Yes = False,
    json: JsonOption = False,
) -> None:
    """Removes what is stored of one customer: ledger, agreements, dead letters, metadata.

    Removes all or nothing, and writes only counts into the audit. Uses WORKER_POSTGRES__DSN, which
    must connect as resolution_operator. Safe to run again. At the end it names what it can't reach.

    Exits with 1 if nothing is stored of that customer.
    """
    request = _request(customer, seller, actor_of(actor), reason)
    settings = settings_of(config)
    if not (dry_run or yes):
        _ask_first(settings.current_postgres_dsn, request)
    erased = _erase(settings.current_postgres_dsn, request, dry_run=dry_run)
    if json:
        print_json({"dry_run": dry_run, **asdict(erased)})
    else:
        _print_table(erased)
    _print_end(erased, dry_run=dry_run)


def _request(customer: str, seller: str | None, actor: str, reason: str) -> Request:
    customer, reason = customer.strip(), reason.strip()
    if not re.fullmatch(rf"[!-~]{{1,{_LONGEST_CUSTOMER}}}", customer):
        raise failure(
            "--customer is neither an AWS account id of 12 digits nor a CustomerIdentifier",
            WRONG_USAGE,
        )
    if customer.isdecimal() and len(customer) != 12:  # noqa: PLR2004 - an AWS account
        raise failure(
            "--customer: an AWS account id has 12 digits, leading zeros included", WRONG_USAGE
        )
    if not reason or len(reason) > _LONGEST_REASON:
        raise failure(f"--reason takes 1 to {_LONGEST_REASON} characters", WRONG_USAGE)
    if customer.casefold() in f"{reason} {actor}".casefold():
        raise failure(_NAMED, WRONG_USAGE)
    return Request(customer, seller, actor, reason)


_NAMED: Final = (
    "--reason or --actor names the customer, and both stay in the audit: name a ticket instead. "
    "Nothing was removed."
)


def _ask_first(dsn: Callable[[], str], request: Request) -> None:
    """Show what would be removed and ask; end the command unless the answer is yes."""
    if not sys.stdin.isatty():
        raise failure("without a terminal give --yes, or --dry-run to look first", WRONG_USAGE)
    found = _erase(dsn, request, dry_run=True)
    _print_table(found, err=True)
    if found.is_nothing:
        raise failure("Nothing is stored of this customer.", PARTLY_FAILED)
    if not typer.confirm("Remove all this? It can't be undone.", err=True):
        raise failure("Nothing was removed.", PARTLY_FAILED)


def _erase(dsn: Callable[[], str], request: Request, *, dry_run: bool) -> Erased:
    connect = connector(dsn, command_seconds=erasure.COMMAND_SECONDS)
    try:
        return asyncio.run(erasure.erase(connect, request, dry_run=dry_run))
    except erasure.NamesCustomer:
        raise failure(_NAMED, WRONG_USAGE) from None
    except LedgerUnavailable as error:
        raise failure(told_line(error), UNAVAILABLE) from None
    except RowsRefused as error:
        raise failure(f"The database: {error}", PARTLY_FAILED) from None


def _print_table(erased: Erased, *, err: bool = False) -> None:
    counts = asdict(erased)
    for name, words in _ROWS:
        typer.echo(f"{counts[name]:>8,}  {words}", err=err)


def _print_end(erased: Erased, *, dry_run: bool) -> None:
    if erased.audited:
        typer.echo(
            f"{erased.audited:,} older entries of the audit name this customer. They stay until "
            "WORKER_RETENTION__AUDIT deletes them: nothing else may change the audit.",
            err=True,
        )
    if erased.is_nothing:
        raise failure("Nothing is stored of this customer.", PARTLY_FAILED)
    typer.echo("Nothing was removed: a dry run." if dry_run else "Removed, and audited.", err=True)
    typer.echo(_QUEUES, err=True)
