"""One batch of claimed letters: opened, published, and marked as published."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.adapters.sealing import CannotOpen
from worker.app.dead_letters.retry_for import persist
from worker.core.dead_letters.replay import Prepared, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.adapters.sealing import Opener
    from worker.app.dead_letters.publisher import ReplayPublisher, Sent
    from worker.core.dead_letters.commands import Account
    from worker.core.dead_letters.replay import Claimed
    from worker.core.records import Lane


@dataclass(frozen=True, slots=True)
class Batches:
    """Publishes batches for one replay.

    Attributes:
        letters: Where they are.
        opener: Opens what is sealed.
        outlet: Where they go.
        account: Is told what became of each.
        replay: For which replay.
        patience: Seconds for which a database that is away is waited for.
    """

    letters: DeadLetterCommands
    opener: Opener
    outlet: ReplayPublisher
    account: Account
    replay: int
    patience: float

    async def publish(self, claimed: Sequence[Claimed], lane: Lane) -> list[int]:
        """Publish a batch; returns the ids of the letters that the broker has.

        Raises:
            LedgerUnavailable: The database could not be told; the account knows what is unmarked.
        """
        prepared = await self._prepared(claimed, lane)
        if not prepared:
            return []
        if parked := [each for each in prepared if not each.told]:
            await persist(lambda: self.letters.identify(parked), self.patience)
        sent = await self.outlet.send([each.message for each in prepared])
        if sent.fault is not None:
            self.account.stop(f"the broker took no more: {sent.fault}")
        return await self._mark(prepared, sent)

    async def _prepared(self, claimed: Sequence[Claimed], lane: Lane) -> list[Prepared]:
        now = datetime.now(UTC)
        prepared: list[Prepared] = []
        refused: dict[str, list[int]] = {}
        for letter in claimed:
            match self._opened(letter, lane, now):
                case Prepared() as one:
                    prepared.append(one)
                case str() as why:
                    refused.setdefault(why, []).append(letter.id)
        for why, ids in refused.items():
            self.account.refuse(why, len(ids))
            await self.letters.release(self.replay, ids, "refused", why)
        return prepared

    def _opened(self, letter: Claimed, lane: Lane, now: datetime) -> Prepared | str:
        try:
            envelope = self.opener.open(letter.sealed)
        except CannotOpen:
            return "its payload was altered, and can't be opened"
        return prepare(letter, envelope, lane, now)

    async def _mark(self, prepared: Sequence[Prepared], sent: Sent) -> list[int]:
        ids = [prepared[place].letter.id for place in sorted(sent.confirmed)]
        self.account.published += len(ids)
        if ids:
            self.account.unmarked += len(ids)
            await persist(lambda: self.letters.published(self.replay, ids), self.patience)
            self.account.unmarked -= len(ids)
        if back := [prepared[place].letter.id for place in sorted(sent.nowhere)]:
            await self._give_back(back, sent.fault)
        return ids

    async def _give_back(self, ids: Sequence[int], fault: str | None) -> None:
        """Letters that went nowhere: for the broker's sake, or their own where it has no fault."""
        kind, why = "released", fault
        if why is None:
            kind, why = "refused", "AMQP can't carry its properties"
            self.account.refuse(why, len(ids))
        await self.letters.release(self.replay, ids, kind, why)
