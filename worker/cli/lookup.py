"""`lookup`: where one buyer's token is, what became of it, and what to do; audited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from worker.adapters.postgres.lookup.lookup import look_up
from worker.app.waiting import waiting
from worker.cli import lookup_format
from worker.cli.actor import actor as acting_as
from worker.cli.database import ask
from worker.cli.exits import PARTLY_FAILED, WRONG_USAGE, failure
from worker.cli.options import ActorOption, ConfigOption, JsonOption
from worker.cli.settings import settings_of
from worker.core.lookup import BadQuery, By, Query, query, recognised

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_REASON_CHARS = 1_000


def _option(help_line: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar="TEXT", help=help_line)
    return option


_MessageId: TypeAlias = Annotated[str | None, _option("The submission's message id.")]
_Fingerprint: TypeAlias = Annotated[
    str | None, _option("The token's SHA-256, or its first 16 digits or more.")
]
_SupportCode: TypeAlias = Annotated[
    str | None, _option("What the buyer reads out, such as WGR1-1S60-FHYJ.")
]
_Account: TypeAlias = Annotated[str | None, _option("The buyer's AWS account id.")]
_License: TypeAlias = Annotated[
    str | None, typer.Option("--license", metavar="ARN", help="The licence's ARN.")
]
_Customer: TypeAlias = Annotated[str | None, _option("The CustomerIdentifier.")]
_Reason: TypeAlias = Annotated[
    str, typer.Option(help="Why, for the audit: a ticket, say. It must not name the customer.")
]


def lookup(
    what: Annotated[
        str | None, typer.Argument(metavar="[WHAT]", help="Any of those below, recognised.")
    ] = None,
    *,
    message_id: _MessageId = None,
    fingerprint: _Fingerprint = None,
    support_code: _SupportCode = None,
    account: _Account = None,
    license_arn: _License = None,
    customer: _Customer = None,
    reason: _Reason = "",
    actor: ActorOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Finds one buyer's token: settled how, when, by which attempts and replays, and what to do.

    Shows nothing of a token but its fingerprint. Who looked is written into the audit, without
    what for. Uses WORKER_POSTGRES__DSN, which must connect as resolution_operator.

    Exits with 1 if nothing is stored of it: it is not settled, or was never received. What waits
    is shown then.
    """
    given = {
        By.MESSAGE_ID: message_id,
        By.FINGERPRINT: fingerprint,
        By.SUPPORT_CODE: support_code,
        By.ACCOUNT: account,
        By.LICENSE: license_arn,
        By.CUSTOMER: customer,
    }
    queries = _queries(what, {by: text for by, text in given.items() if text is not None})
    who = acting_as(actor)
    _check_reason(f"{who} {reason}", reason, what or next(filter(None, given.values()), ""))
    settings = settings_of(config)
    found = ask(settings, lambda session: look_up(session, queries, who, reason.strip()))
    waits = asyncio.run(waiting(settings)) if found.is_nothing else None
    show = lookup_format.print_json if json else lookup_format.print_text
    show(found, waits)
    if found.is_nothing:
        raise typer.Exit(PARTLY_FAILED)


def _queries(what: str | None, given: dict[By, str]) -> Sequence[Query]:
    if (what is not None) + len(given) != 1:
        options = ", ".join(f"--{by}" for by in By)
        raise failure(f"lookup takes one thing to look for: WHAT, or one of {options}", WRONG_USAGE)
    if what is not None:
        try:
            return recognised(what)
        except BadQuery as error:
            raise failure(f"WHAT: {error}", WRONG_USAGE) from None
    ((by, text),) = given.items()
    try:
        return (query(by, text),)
    except BadQuery as error:
        raise failure(f"--{by}: {error}", WRONG_USAGE) from None


def _check_reason(written: str, reason: str, text: str) -> None:
    if len(reason) > _MOST_REASON_CHARS:
        raise failure(f"--reason takes at most {_MOST_REASON_CHARS} characters", WRONG_USAGE)
    if text.strip().casefold() in written.casefold():
        raise failure(
            "--reason or --actor repeats what is looked for, and both stay in the audit: name a "
            "ticket instead",
            WRONG_USAGE,
        )
