"""`dead-letters show`: everything about one letter; its payload only with a reason, audited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from worker.adapters.postgres.dead_letters import views
from worker.adapters.sealing import BadKey, Opener
from worker.cli.actor import actor as acting
from worker.cli.dead_letters import filters, render
from worker.cli.dead_letters.connect import ask
from worker.cli.dead_letters.payload import Reveal
from worker.cli.exits import BAD_CONFIGURATION, PARTLY_FAILED, failure
from worker.cli.settings import ConfigOption, settings_of

if TYPE_CHECKING:
    from worker.adapters.postgres.sessions import Session
    from worker.core.dead_letters.views import DeadLetterDetail
    from worker.settings import Settings

_MOST_NAMESAKES = 20


def show(
    letter_id: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="As `dead-letters list` shows it.")
    ] = None,
    *,
    message_id: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The message's id instead, if one letter has it."),
    ] = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show the payload too, the token with it.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why you --reveal it; audited.")
    ] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who you are; else who is logged in.")
    ] = None,
    config: ConfigOption = None,
    json: filters.JsonOption = False,
) -> None:
    """Shows everything about one letter: what it is, what happened to it, what helps.

    The payload is sealed: --reveal opens it with WORKER_DEAD_LETTERS__OPEN_KEYS. It holds the
    token, a secret, so a --reason is wanted, and who revealed it why stands in the audit and in
    the letter's history before the payload is shown.
    """
    _check_usage(letter_id, message_id, reason, reveal=reveal)
    settings = settings_of(config)
    wanted = _reveal(settings, acting(actor), reason) if reveal else None
    found, opened = ask(settings, lambda session: _read(session, letter_id, message_id, wanted))
    if json:
        render.print_json(found, opened)
    else:
        render.print_text(found, opened)


def _check_usage(
    letter_id: int | None, message_id: str | None, reason: str | None, *, reveal: bool
) -> None:
    if (letter_id is None) == (message_id is None):
        raise failure("show takes either an ID or --message-id", filters.WRONG_USAGE)
    # The same bounds as those of the filters.
    filters.chosen(
        ids=None if letter_id is None else (letter_id,),
        message_id=None if message_id is None else (message_id,),
    )
    if reveal and not (reason or "").strip():
        raise failure(
            '--reveal wants to know why: --reason "…"; it is audited', filters.WRONG_USAGE
        )
    if reason is not None and not reveal:
        raise failure("--reason goes with --reveal", filters.WRONG_USAGE)


def _reveal(settings: Settings, who: str, reason: str | None) -> Reveal:
    try:
        return Reveal(opener(settings), who, (reason or "").strip())
    except BadKey as error:
        raise failure(f"WORKER_DEAD_LETTERS__OPEN_KEYS: {error}", BAD_CONFIGURATION) from None


def opener(settings: Settings) -> Opener:
    """What opens payloads, or the end of the command where no key is configured.

    Raises:
        BadKey: A key that is configured is none.
    """
    keys = [key.get_secret_value() for key in settings.dead_letters.open_keys]
    if not keys:
        raise failure(
            "no opening key: set WORKER_DEAD_LETTERS__OPEN_KEYS to the private key that `keygen` "
            "printed beside the WORKER_DEAD_LETTERS__SEAL_KEY of the workers",
            BAD_CONFIGURATION,
        )
    return Opener(keys)


async def _read(
    session: Session, letter_id: int | None, message_id: str | None, wanted: Reveal | None
) -> tuple[DeadLetterDetail, bytes | None]:
    if letter_id is None:
        letter_id = await _named(session, message_id or "")
    opened = None if wanted is None else await wanted.open(session, letter_id)
    found = await views.dossier(session, letter_id)
    if found is None:
        _say_unknown(f"there is no dead letter {letter_id}")
    return found, opened


async def _named(session: Session, message_id: str) -> int:
    ids = await views.namesakes(session, message_id, _MOST_NAMESAKES)
    if not ids:
        _say_unknown("there is no dead letter of a message with that id")
    if len(ids) > 1:
        which = ", ".join(map(str, ids))
        raise failure(f"several letters have that message id; show one of: {which}", PARTLY_FAILED)
    return ids[0]


def _say_unknown(what: str) -> NoReturn:
    raise failure(
        f"{what}; `dead-letters list` shows those that are open, with --state the others. Old ones "
        "are pruned",
        PARTLY_FAILED,
    )
