"""`dead-letters show`: everything about one dead letter; its payload for a reason, audited."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from worker.adapters.postgres.dead_letters import views
from worker.adapters.sealing import CannotOpen, Opener
from worker.cli.actor import actor as acting_as
from worker.cli.database import ask
from worker.cli.dead_letters import detail, filters, shared
from worker.cli.dead_letters.format_values import instant
from worker.cli.exits import PARTLY_FAILED, WRONG_USAGE, failure
from worker.cli.options import ActorOption, ConfigOption, JsonOption
from worker.cli.settings import settings_of
from worker.core.dead_letters.commands import Actor

if TYPE_CHECKING:
    from worker.adapters.postgres.sessions import Session
    from worker.core.dead_letters.views import DeadLetterDetail, SealedPayload

_MOST_OF_ONE_MESSAGE: Final = 20


def show(
    letter_id: Annotated[
        int | None, typer.Argument(metavar="ID", help="As `dead-letters list` shows it.")
    ] = None,
    *,
    message_id: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The message's id instead, if it has one dead letter."),
    ] = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show the payload too, and the token in it.")
    ] = False,
    reason: shared.ReasonOption = None,
    actor: ActorOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Shows everything about one dead letter: what it is, what happened to it, what helps.

    The payload is sealed: --reveal opens it with WORKER_DEAD_LETTERS__OPEN_KEYS. It contains the
    token, a secret, so --reveal needs a --reason; who revealed it and why is written into the audit
    and into the dead letter's history before the payload is shown.
    """
    _check_usage(letter_id, message_id, reason, reveal=reveal)
    settings = settings_of(config)
    revealing = None
    if reveal:
        who = Actor(acting_as(actor), (reason or "").strip())
        revealing = _Revealing(shared.opener_of(settings), who)
    found, opened = ask(settings, lambda session: _read(session, letter_id, message_id, revealing))
    if json:
        detail.print_json(found, opened)
    else:
        detail.print_text(found, opened)


def _check_usage(
    letter_id: int | None, message_id: str | None, reason: str | None, *, reveal: bool
) -> None:
    if (letter_id is None) == (message_id is None):
        raise failure("show takes either an ID or --message-id", WRONG_USAGE)
    # The same bounds as those of the filters.
    filters.selection_of(
        ids=None if letter_id is None else (letter_id,),
        message_id=None if message_id is None else (message_id,),
    )
    if reveal and not (reason or "").strip():
        raise failure(
            '--reveal needs a reason: --reason "…"; it is written into the audit', WRONG_USAGE
        )
    if reason is not None and not reveal:
        raise failure("--reason is only for --reveal", WRONG_USAGE)


async def _read(
    session: Session,
    letter_id: int | None,
    message_id: str | None,
    revealing: _Revealing | None,
) -> tuple[DeadLetterDetail, bytes | None]:
    if letter_id is None:
        letter_id = await _only_id(session, message_id or "")
    found = await views.detail(session, letter_id)
    if found is None:
        _end_unknown(f"there is no dead letter {letter_id}")
    if revealing is None:
        return found, None
    revealing.require_key(found)
    opened = await revealing.open(session, letter_id)
    # Once more, for the history now has who revealed it.
    return await views.detail(session, letter_id) or found, opened


async def _only_id(session: Session, message_id: str) -> int:
    ids = await views.ids_of_message(session, message_id, _MOST_OF_ONE_MESSAGE)
    if not ids:
        _end_unknown("there is no dead letter of a message with that id")
    if len(ids) > 1:
        which = ", ".join(map(str, ids))
        raise failure(
            f"several dead letters have that message id; show one of: {which}", PARTLY_FAILED
        )
    return ids[0]


def _end_unknown(what: str) -> NoReturn:
    raise failure(
        f"{what}; `dead-letters list` shows those that are open, with --state the others. Old ones "
        "are deleted",
        PARTLY_FAILED,
    )


@dataclass(frozen=True, slots=True)
class _Revealing:
    """Who reads a payload and why, and the keys that open it."""

    opener: Opener = field(repr=False)
    actor: Actor

    def require_key(self, found: DeadLetterDetail) -> None:
        """End the command if no key here fits, before the audit says that the payload was read."""
        if found.is_kept and found.seal_key_id not in self.opener.key_ids:
            raise failure(
                f"no key here opens the payload: it is sealed to the key {found.seal_key_id}, and "
                f"WORKER_DEAD_LETTERS__OPEN_KEYS has {', '.join(self.opener.key_ids)}. Add the "
                "private key of that pair",
                PARTLY_FAILED,
            )

    async def open(self, session: Session, letter_id: int) -> bytes | None:
        """Return the payload once the audit has it that it was read; None without the letter."""
        found = await views.reveal(session, letter_id, self.actor)
        return None if found is None else self._opened(found)

    def _opened(self, found: SealedPayload) -> bytes:
        if found.sealed is None:
            since = "" if found.shredded_at is None else f" at {instant(found.shredded_at)} UTC"
            raise failure(
                f"the payload was shredded{since}: its token was past its lifetime, and nothing "
                "can bring it back. Without --reveal the rest is shown",
                PARTLY_FAILED,
            )
        try:
            return self.opener.open(found.sealed)
        except CannotOpen:
            raise failure(
                f"the payload was altered: the key {found.seal_key_id} does not open it",
                PARTLY_FAILED,
            ) from None
