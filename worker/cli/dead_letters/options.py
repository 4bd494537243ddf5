"""What the commands that act on dead letters share: who and why, on which, and asking first."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from worker.adapters.sealing import BadKey, Opener
from worker.cli.actor import actor as acting_as
from worker.cli.dead_letters import filters
from worker.cli.exits import BAD_CONFIGURATION, PARTLY_FAILED, failure
from worker.core.dead_letters.commands import Actor
from worker.core.dead_letters.filters import LetterState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.core.dead_letters.filters import Selection
    from worker.settings import Settings

IdsArgument: TypeAlias = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", help="As `dead-letters list` shows them.")
]
AllOption: TypeAlias = Annotated[
    bool, typer.Option("--all", help="All letters, where neither ids nor filters are given.")
]
WhyOption: TypeAlias = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why you do it; audited.")
]
ActorOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--actor", metavar="NAME", help="Who you are; else who is logged in."),
]
YesOption: TypeAlias = Annotated[
    bool, typer.Option("--yes", help="Do not ask first. Without a terminal nobody is asked.")
]
DryRunOption: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
]


def who(actor: str | None, reason: str | None, *, needed: bool = True) -> Actor:
    """Who acts and why, or the end of the command where no reason is given."""
    why = (reason or "").strip()
    if needed and not why:
        raise failure('say why: --reason "…"; it is audited', filters.WRONG_USAGE)
    return Actor(acting_as(actor), why)


def meant(selection: Selection, *, everything: bool) -> Selection:
    """The letters to act upon, or the end of the command where nothing says which.

    Named letters are meant whatever is done about them, others while they are not closed.
    """
    if everything and selection.is_narrowed:
        raise failure("--all goes with neither ids nor filters", filters.WRONG_USAGE)
    if not everything and not selection.is_narrowed:
        raise failure(
            "say which letters: ids, --group as `dead-letters groups` shows it, another filter, "
            "or --all",
            filters.WRONG_USAGE,
        )
    pending = () if selection.ids else (LetterState.OPEN, LetterState.REPLAYING)
    return replace(selection, states=pending)


async def require_known(letters: DeadLetterCommands, ids: Sequence[int]) -> None:
    """End the command if one of these letters does not exist."""
    missing = await letters.missing(ids) if ids else []
    if missing:
        which = ", ".join(map(str, missing[:20])) + (", …" if len(missing) > 20 else "")  # noqa: PLR2004 - as written
        raise failure(
            f"there is no dead letter {which}; nothing was done. `dead-letters list` shows those "
            "there are",
            PARTLY_FAILED,
        )


def is_interactive() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask first where somebody is there; end the command unless the answer is yes."""
    if not yes and is_interactive() and not typer.confirm(question, err=True):
        raise failure("nothing was done", PARTLY_FAILED)


def opener_of(settings: Settings) -> Opener:
    """What opens payloads, or the end of the command in words."""
    keys = [key.get_secret_value() for key in settings.dead_letters.open_keys]
    if not keys:
        raise failure(
            "no opening key: set WORKER_DEAD_LETTERS__OPEN_KEYS to the private key that `keygen` "
            "printed beside the WORKER_DEAD_LETTERS__SEAL_KEY of the workers",
            BAD_CONFIGURATION,
        )
    try:
        return Opener(keys)
    except BadKey as error:
        raise failure(f"WORKER_DEAD_LETTERS__OPEN_KEYS: {error}", BAD_CONFIGURATION) from None


@contextmanager
def stopping_on_signals() -> Iterator[asyncio.Event]:
    """An event that the first signal sets; a second one ends the program as usual."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def on_signal() -> None:
        typer.echo("stopping after the batch under way", err=True)
        stopping.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stopping
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
