"""One batch of claimed dead letters: opened, published, and marked as published."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from worker.adapters.sealing import CannotOpen
from worker.app.dead_letters.retry_for import retry_for
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
        commands: The database.
        opener: Opens the payloads.
        publisher: Publishes the messages.
        account: Counts what became of each.
        replay: The number of the replay.
        retry_for_seconds: How long to retry while the database is away.
    """

    commands: DeadLetterCommands
    opener: Opener
    publisher: ReplayPublisher
    account: Account
    replay: int
    retry_for_seconds: float

    async def publish(self, claimed: Sequence[Claimed], lane: Lane) -> list[int]:
        """Publish a batch; return the ids of the dead letters whose message the broker confirmed.

        Raises:
            LedgerUnavailable: They could not be marked; the account counts them as unmarked.
        """
        prepared = await self._prepared(claimed, lane)
        if not prepared:
            return []
        if parked := [each for each in prepared if not each.is_identified]:
            await retry_for(self.retry_for_seconds, lambda: self.commands.identify(parked))
        sent = await self.publisher.send([each.message for each in prepared])
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
            await self.commands.release(self.replay, ids, "refused", why)
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
            await retry_for(
                self.retry_for_seconds, lambda: self.commands.published(self.replay, ids)
            )
            self.account.unmarked -= len(ids)
        if back := [prepared[place].letter.id for place in sorted(sent.unpublished)]:
            await self._give_back(back, sent.fault)
        return ids

    async def _give_back(self, ids: Sequence[int], fault: str | None) -> None:
        """Release what was not published; refuse it where the broker was not at fault."""
        kind, why = "released", fault
        if why is None:
            kind, why = "refused", "AMQP can't carry its properties"
            self.account.refuse(why, len(ids))
        await self.commands.release(self.replay, ids, kind, why)
