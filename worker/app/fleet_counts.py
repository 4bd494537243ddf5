"""What the database counts for the whole fleet, looked up from time to time for the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.core.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.adapters.postgres.ledger.ledger import PostgresLedger
    from worker.app.lost_queues import LostQueues
    from worker.runtime.token.event_outbox import EventOutbox


@dataclass(frozen=True, slots=True)
class Counted:
    """What was there at the last look.

    Attributes:
        letters: Open dead letters by reason.
        redeemable: How many of them may still be redeemed.
        first_expiries: Seconds until the first of a reason expires; +Inf if none can be redeemed.
        events: How many events wait in the outbox.
        lost_queues: How many queues went missing and were not acknowledged.
    """

    letters: Mapping[str, float]
    redeemable: int
    first_expiries: Mapping[str, float]
    events: int
    lost_queues: int


class FleetCounts:
    """Looks, and forgets what it saw while the database is away: nothing stale is shown.

    Attributes:
        last: What was there at the last look; None if there was nothing to be had.
    """

    def __init__(
        self, ledger: PostgresLedger, events: EventOutbox, lost_queues: LostQueues
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._lost_queues = lost_queues
        self.last: Counted | None = None

    async def look(self) -> None:
        """Look once.

        Raises:
            LedgerUnavailable: The database could not be asked, or is not fit for use.
        """
        try:
            self.last = await self._counted()
        except LedgerUnavailable:
            self.last = None
            raise

    async def _counted(self) -> Counted:
        await self._ledger.check()
        letters = await self._ledger.dead_letter_counts()
        redeemable = await self._ledger.redeemable()
        expiries = await self._ledger.first_expiries()
        events = await self._events.count()
        await self._lost_queues.note()
        return Counted(
            letters,
            redeemable,
            {reason: max(0.0, expiries.get(reason, float("inf"))) for reason in letters},
            events,
            len(self._lost_queues.lost),
        )
