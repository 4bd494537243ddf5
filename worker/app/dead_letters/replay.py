"""One replay from its first claim to its end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from worker.adapters.postgres.operator.audit import Entry
from worker.app.dead_letters.batch import Batches
from worker.app.dead_letters.claims import Claims
from worker.app.dead_letters.retry_for import persist
from worker.app.dead_letters.watch import Watch, await_outcomes
from worker.core.dead_letters.commands import Account, tally
from worker.core.dead_letters.replay import HEARTBEAT, Pace
from worker.core.exceptions import LedgerUnavailable, RowsRefused
from worker.core.records import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.adapters.sealing import Opener
    from worker.app.dead_letters.publisher import ReplayPublisher
    from worker.app.dead_letters.request import Order
    from worker.core.dead_letters.replay import Claimed

ACTION: Final = "dead-letters.replay"


async def replay(
    order: Order,
    letters: DeadLetterCommands,
    opener: Opener,
    outlet: ReplayPublisher,
    *,
    chosen: int,
    tell: Callable[[Account], None],
    stopping: asyncio.Event,
) -> Account:
    """Replay what was ordered.

    Args:
        order: What was asked for.
        letters: Where they are.
        opener: Opens what is sealed.
        outlet: Where they go.
        chosen: How many are ready, for the record.
        tell: Told how far it is, again and again.
        stopping: Set it to end in order after the batch under way.

    Returns:
        What was done. What was not is as it was, and the same command goes on with it.

    Raises:
        LedgerUnavailable: It could not even begin.
    """
    account = Account(chosen=chosen)
    entry = Entry(*order.actor, ACTION, {**order.described(), "chosen": chosen})
    await letters.reconcile()
    account.replay, began = await letters.begin(order.actor, order.selection, entry, chosen)
    run = _Run(order, letters, opener, outlet, account, account.replay, began, tell, stopping)
    async with _beating(letters, account):
        try:
            await run.publish_all()
        except (LedgerUnavailable, RowsRefused) as error:
            # What it says a worker would do about it is not for here.
            account.stop(f"the database could not be asked: {str(error).partition('; ')[0]}")
    with suppress(LedgerUnavailable):
        await run.end()
    return account


@dataclass(slots=True)
class _Run:
    order: Order
    letters: DeadLetterCommands
    opener: Opener
    outlet: ReplayPublisher
    account: Account
    replay: int
    began: datetime
    tell: Callable[[Account], None]
    stopping: asyncio.Event
    claims: Claims = field(init=False)
    batches: Batches = field(init=False)
    watch: Watch = field(init=False)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        order, letters = self.order, self.letters
        self.claims = Claims(letters, order, self.replay, self.began, self.stopping)
        self.batches = Batches(
            letters, self.opener, self.outlet, self.account, self.replay, order.patience_seconds
        )
        self.watch = Watch(letters)
        self.pace = Pace(order.rate)

    async def publish_all(self) -> None:
        if self.order.canary:
            await self._send_canaries()
        while self._goes_on() and await self._publish_batch():
            self.tell(self.account)
            await self._check_failures()
        self.account.held = self.claims.held

    def _goes_on(self) -> bool:
        if self.stopping.is_set():
            self.account.stop("interrupted")
        return self.account.stopped is None and self._room() != 0

    def _room(self) -> int | None:
        limit = self.order.limit
        return None if limit is None else max(0, limit - self.account.published)

    async def _publish_batch(self) -> bool:
        """Publish the next batch; whether there was one."""
        loop = asyncio.get_running_loop()
        if await self._stopped_within(self.pace.wait(loop.time())):
            return True
        batch = await self._claim(self.pace.size(self._room()))
        if batch:
            self.pace.went(len(batch), loop.time())
            self.watch.add(await self.batches.publish(batch, Lane.BACKLOG))
        return bool(batch)

    async def _claim(self, most: int) -> list[Claimed]:
        return await persist(lambda: self.claims.next(most), self.order.patience_seconds)

    async def _stopped_within(self, seconds: float) -> bool:
        if not seconds:
            return self.stopping.is_set()
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _send_canaries(self) -> None:
        most = self.order.canary
        room = self._room()
        batch = await self._claim(most if room is None else min(most, room))
        ids = await self.batches.publish(batch, Lane.LIVE)
        self.tell(self.account)
        seconds = self.order.canary_seconds
        results = await await_outcomes(self.letters, ids, seconds, self.stopping)
        account = self.account
        account.canaries, account.silent = tuple(results), len(ids) - len(results)
        account.tally += tally(results)
        if account.tally.failed:
            account.stop("not every canary resolved", "aborted")
        elif account.silent and not self.stopping.is_set():
            account.stop(f"{account.silent} canaries had no outcome in {seconds:g} s", "aborted")

    async def _check_failures(self) -> None:
        percent = self.order.abort_percent
        if percent is None:
            return
        account = self.account
        account.tally = await self.watch.look(account.tally)
        if account.tally.exceeds(percent):
            share = f"{account.tally.failed} of {account.tally.known} outcomes"
            account.stop(f"too many failed again: {share}, over {percent:g} %", "aborted")

    async def end(self) -> None:
        """Give the rest back, write the end down, and count what is left."""
        account = self.account
        subject = {
            "replay": self.replay,
            "state": account.state,
            "published": account.published,
            "refused": account.refusals,
            **({"stopped": account.stopped} if account.stopped else {}),
        }
        entry = Entry(*self.order.actor, f"{ACTION}.end", subject)
        counts = (account.published, account.refusals)
        await persist(
            lambda: self.letters.end(self.replay, account.state, *counts, entry),
            self.order.patience_seconds,
        )
        if account.stopped is not None:
            await self._count_rest()

    async def _count_rest(self) -> None:
        # What has failed since it began was replayed, or was not meant.
        chosen = self.order.selection
        before = self.began if chosen.until is None else min(chosen.until, self.began)
        preview = await self.letters.preview(
            replace(chosen, until=before), self.order.margin, self.order.keys, self.replay
        )
        self.account.left = preview.ready


@asynccontextmanager
async def _beating(letters: DeadLetterCommands, account: Account) -> AsyncIterator[None]:
    """Say again and again that the replay lives, until the block ends."""
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(_beat(letters, account))
        try:
            yield
        finally:
            beating.cancel()


async def _beat(letters: DeadLetterCommands, account: Account) -> None:
    assert account.replay is not None
    while True:
        await asyncio.sleep(HEARTBEAT.total_seconds())
        with suppress(LedgerUnavailable):
            await letters.beat(account.replay, account.published, account.refusals)
