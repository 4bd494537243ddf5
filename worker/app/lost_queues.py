"""Which of our queues went missing on the broker, and perhaps messages with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import structlog

from worker.adapters.rabbitmq.topology import absence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

log: Final = structlog.get_logger()

ACKNOWLEDGE: Final = "`resolution-worker topology acknowledge --reason …`"
REMEDY: Final = (
    "find what deleted it (a policy with `expires`, or somebody: `resolution-worker check` shows "
    "policies), run `resolution-worker topology declare`; buyers whose tokens were in it get no "
    f"answer and must click through again. End this message with {ACKNOWLEDGE}"
)


def loss(queues: Collection[str]) -> tuple[str, str]:
    """That queues went missing, and what to do about it."""
    names = ", ".join(sorted(queues))
    return f"messages may be lost: {names} went missing on the broker", REMEDY


class Book(Protocol):
    """Where all replicas note which queues they see."""

    async def note_queues(
        self, present: Collection[str], absent: Collection[str]
    ) -> Mapping[str, datetime]:
        """Note them; return those that went missing and were not acknowledged, and since when.

        Raises:
            LedgerUnavailable: Nothing was noted, or it is unknown whether it was.
        """
        ...


class LostQueues:
    """Tells of queues that were there once and are not, until somebody has acknowledged it.

    One that no replica ever saw is not declared yet, and has lost nothing.

    Args:
        book: Where it is noted.
        report: Called with which queues are not there, or None.

    Attributes:
        lost: Those that went missing, and since when.
    """

    def __init__(self, book: Book, report: Callable[[str | None], None]) -> None:
        self._book = book
        self._report = report
        self._present: frozenset[str] = frozenset()
        self._absent: frozenset[str] = frozenset()
        self._unnoted: frozenset[str] = frozenset()
        self.lost: Mapping[str, datetime] = {}
        report(None)

    def seen(self, present: Collection[str], absent: Collection[str]) -> None:
        """Take note that queues are there, or not; queues that are not named stand as before."""
        before = self._absent
        self._present = (self._present | frozenset(present)) - frozenset(absent)
        self._absent = (before | frozenset(absent)) - frozenset(present)
        self._unnoted |= self._absent - before
        self._report(self._fault())

    async def note(self) -> None:
        """Tell the book, and the log what is new.

        Raises:
            LedgerUnavailable: It has to be told again.
        """
        # Each loss is told once: else a replica that has not yet seen that the queue is back would
        # have it lost again after it was acknowledged.
        unnoted = self._unnoted
        before, self.lost = self.lost, await self._book.note_queues(self._present, unnoted)
        self._unnoted -= unnoted
        self._report(self._fault())
        for queue in self.lost.keys() - before.keys():
            since = self.lost[queue].isoformat()
            log.error("messages_may_be_lost", queue=queue, missing_since=since, remedy=REMEDY)

    def _fault(self) -> str | None:
        lost = self._absent & self.lost.keys()
        faults = [*(loss(lost) if lost else ())]
        if never_there := self._absent - lost:
            faults += absence(f"queue {name}" for name in never_there)
        return "; ".join(faults) or None
