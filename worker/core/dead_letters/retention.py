"""Retention: which rows are due when, and how slowly they are gone through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import timedelta

BATCH_ROWS: Final = 500
# A table that has grown for long is gone through over many rounds, not in one.
ROUND_BATCHES: Final = 200
ROUND_SECONDS: Final = 60.0
# A batch takes some ten milliseconds; one that takes so long meets a database with other worries.
BUSY_SECONDS: Final = 0.5
_LEAST_PAUSE_SECONDS: Final = 0.05
_REST: Final = 3.0


class Chore(StrEnum):
    """One kind of work; also the `action` label of `resolution_retention_rows_total`."""

    SHRED = "payloads_shredded"
    ARCHIVE = "letters_archived"
    PRUNE_LETTERS = "letters_deleted"
    PRUNE_MALFORMED = "malformed_deleted"
    PRUNE_REPLAYS = "replays_deleted"
    PRUNE_LEDGER = "outcomes_deleted"
    PRUNE_UNRESOLVED = "unresolved_deleted"
    PRUNE_AUDIT = "audit_deleted"


@dataclass(frozen=True, slots=True)
class Periods:
    """How long a replica keeps rows, at least; None for ever.

    The database has periods of its own, and deletes nothing before those are over either.

    Attributes:
        ledger: What is resolved, since it was.
        unresolved: What was settled otherwise.
        dead_letters: A dead letter since it was closed, with its history and its replays; and the
            note of a message that could not be read, since it arrived.
        audit: An entry.
    """

    ledger: timedelta | None
    unresolved: timedelta | None
    dead_letters: timedelta | None
    audit: timedelta | None


@dataclass(frozen=True, slots=True)
class Task:
    """A chore to be done.

    Attributes:
        older_than: The age from which rows are due; None where the chore has an age of its own.
    """

    chore: Chore
    older_than: timedelta | None = None


def tasks(periods: Periods) -> tuple[Task, ...]:
    """What is to be done in each round, in this order: what is most sensitive goes first."""
    aged = (
        (Chore.PRUNE_LETTERS, periods.dead_letters),
        (Chore.PRUNE_MALFORMED, periods.dead_letters),
        (Chore.PRUNE_REPLAYS, periods.dead_letters),
        (Chore.PRUNE_LEDGER, periods.ledger),
        (Chore.PRUNE_UNRESOLVED, periods.unresolved),
        (Chore.PRUNE_AUDIT, periods.audit),
    )
    due = (Task(chore, period) for chore, period in aged if period is not None)
    return (Task(Chore.SHRED), Task(Chore.ARCHIVE), *due)


def pause(batch_seconds: float) -> float:
    """Seconds to rest after a batch: three times as long as it took, so three quarters are rest."""
    return max(_LEAST_PAUSE_SECONDS, _REST * batch_seconds)


def wait(draw: float) -> float:
    """Seconds between rounds, a minute on average; `draw` is uniform in [0, 1)."""
    return ROUND_SECONDS * (0.5 + draw)
