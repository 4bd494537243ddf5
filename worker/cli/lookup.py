"""`lookup`: where one buyer's token is, what became of it, and what to do; audited."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from worker.adapters.postgres.lookup.lookup import look_up
from worker.cli import lookup_format
from worker.cli.actor import actor as acting_as
from worker.cli.database import ask
from worker.cli.exits import PARTLY_FAILED, WRONG_USAGE, failure
from worker.cli.options import (
    ActorOption,
    ConfigOption,
    JsonOption,
    OptionGroup,
    with_option_groups,
)
from worker.cli.settings import settings_of
from worker.core.lookup import BadQuery, By, Query, query, recognised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.app.waiting import Waiting
    from worker.settings import Settings

_MOST_REASON_CHARS = 1_000


_OPTIONS: Final = tuple(
    inspect.Parameter(
        by.name.lower(),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, typer.Option(f"--{by}", metavar=metavar, help=help_line)],
    )
    for by, metavar, help_line in (
        (By.MESSAGE_ID, "TEXT", "The submission's message id."),
        (By.FINGERPRINT, "TEXT", "The token's SHA-256, or its first 16 digits or more."),
        (By.SUPPORT_CODE, "TEXT", "What the buyer reads out, such as WGR1-1S60-FHYJ."),
        (By.ACCOUNT, "TEXT", "The buyer's AWS account id."),
        (By.LICENSE, "ARN", "The licence's ARN."),
        (By.CUSTOMER, "TEXT", "The CustomerIdentifier."),
    )
)


def _given(**texts: str | None) -> Mapping[By, str]:
    return {By[name.upper()]: text for name, text in texts.items() if text is not None}


_Reason: TypeAlias = Annotated[
    str, typer.Option(help="Why, for the audit: a ticket, say. It must not name the customer.")
]


@with_option_groups
def lookup(
    what: Annotated[
        str | None, typer.Argument(metavar="WHAT", help="Any of those below, recognised.")
    ] = None,
    *,
    given: Annotated[Mapping[By, str], OptionGroup(_given, _OPTIONS)],
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
    queries = _queries(what, given)
    who = acting_as(actor)
    _check_reason(f"{who} {reason}", reason, what or "".join(given.values()))
    settings = settings_of(config)
    found = ask(settings, lambda session: look_up(session, queries, who, reason.strip()))
    waits = _what_waits(settings) if found.is_nothing else None
    show = lookup_format.print_json if json else lookup_format.print_text
    show(found, waits)
    if found.is_nothing:
        raise typer.Exit(PARTLY_FAILED)


def _what_waits(settings: Settings) -> Waiting:
    from worker.app.waiting import waiting  # noqa: PLC0415 - slow to import, and seldom needed

    return asyncio.run(waiting(settings))


def _queries(what: str | None, given: Mapping[By, str]) -> Sequence[Query]:
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
