"""What several commands for dead letters share: who acts, the database, the keys, asking first."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

import typer

from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands, acting
from worker.adapters.postgres.dead_letters.views import group_letters
from worker.adapters.postgres.operator.errors import told_operator
from worker.adapters.postgres.sessions import connector
from worker.adapters.sealing import BadKey, Opener
from worker.app.hidden import hidden
from worker.cli.actor import actor as acting_as
from worker.cli.exits import BAD_CONFIGURATION, PARTLY_FAILED, UNAVAILABLE, WRONG_USAGE, failure
from worker.cli.options import ActorOption, DryRunOption, OptionGroup
from worker.cli.running import stopping_on_signals
from worker.core.dead_letters.commands import Actor
from worker.core.exceptions import LedgerUnavailable, RowsRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from worker.adapters.postgres.sessions import Session
    from worker.settings import Settings

_T = TypeVar("_T")
_COUNT_EACH: Final = 20_000
_MOST_IDS_SHOWN: Final = 20

ReasonOption: TypeAlias = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the audit.")
]
YesOption: TypeAlias = Annotated[
    bool, typer.Option("--yes", help="Do not ask first. Without a terminal nobody is asked.")
]


@dataclass(frozen=True, slots=True)
class Intent:
    """Who acts and why, or that they only want to look; without a reason the command ends."""

    dry_run: DryRunOption = False
    reason: ReasonOption = None
    actor: ActorOption = None

    def __post_init__(self) -> None:
        """Require a reason for whatever changes something."""
        if not self.dry_run and not (self.reason or "").strip():
            raise failure('give a reason: --reason "…"; it is written into the audit', WRONG_USAGE)

    @property
    def who(self) -> Actor:
        """The person, for the audit."""
        return Actor(acting_as(self.actor), (self.reason or "").strip())


IntentOptions: TypeAlias = Annotated[Intent, OptionGroup(Intent)]


# --- the database ---


def act(
    settings: Settings, work: Callable[[DeadLetterCommands], Awaitable[_T]], otherwise: str
) -> _T:
    """Return what the work returns that is done to dead letters.

    Args:
        settings: Which database.
        work: What to do.
        otherwise: What did not happen where the database can't be asked: `nothing was replayed`.
    """

    async def do() -> _T:
        connect = connector(hidden(settings.current_postgres_dsn), command_seconds=30.0)
        async with acting(connect) as commands:
            return await work(commands)

    try:
        return asyncio.run(do())
    except (LedgerUnavailable, RowsRefused) as error:
        raise failure(f"{told_operator(str(error))}; {otherwise}", UNAVAILABLE) from None


async def group_all(session: Session) -> None:
    """Make sure that all dead letters can be chosen by group."""
    if count := await group_letters(session, _show_grouped):
        typer.echo(f"grouped {count} dead letters of an older version", err=True)


def _show_grouped(count: int) -> None:
    if count % _COUNT_EACH == 0:
        typer.echo(f"grouping dead letters of an older version: {count} so far", err=True)


async def require_known(commands: DeadLetterCommands, ids: Sequence[int]) -> None:
    """End the command if one of these dead letters does not exist."""
    missing = await commands.missing(ids) if ids else []
    if missing:
        more = ", …" if len(missing) > _MOST_IDS_SHOWN else ""
        which = ", ".join(map(str, missing[:_MOST_IDS_SHOWN])) + more
        raise failure(
            f"there is no dead letter {which}; nothing was done. `dead-letters list` shows which "
            "there are",
            PARTLY_FAILED,
        )


# --- keys, questions, signals ---


def opener_of(settings: Settings) -> Opener:
    """Return what opens payloads, or end the command with what is wrong with the keys."""
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


def confirm(question: str, *, yes: bool) -> None:
    """Ask first where somebody sits at a terminal; end the command unless the answer is yes."""
    is_interactive = sys.stdin.isatty() and sys.stderr.isatty()
    if not yes and is_interactive and not typer.confirm(question, err=True):
        raise failure("nothing was done", PARTLY_FAILED)


@contextmanager
def stopping_after_batch() -> Iterator[asyncio.Event]:
    """Yield an event that the first signal sets; a second one ends the program as usual."""
    stopping = asyncio.Event()

    def stop() -> None:
        typer.echo("stopping after the batch under way", err=True)
        stopping.set()

    with stopping_on_signals(stop):
        yield stopping
