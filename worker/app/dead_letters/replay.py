"""One replay from its first claim to its end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from worker.adapters.postgres.operator.audit import Entry
from worker.app.dead_letters.batch import Batches
from worker.app.dead_letters.claims import Claims
from worker.app.dead_letters.retry_for import retry_for
from worker.app.dead_letters.watch import Watch, await_outcomes
from worker.core.dead_letters.commands import Account, count_outcomes
from worker.core.dead_letters.replay import HEARTBEAT, Pace
from worker.core.exceptions import LedgerUnavailable, RowsRefused
from worker.core.records import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from worker.adapters.postgres.dead_letters.commands import DeadLetterCommands
    from worker.adapters.sealing import Opener
    from worker.app.dead_letters.publisher import ReplayPublisher
    from worker.app.dead_letters.request import ReplayRequest
    from worker.core.dead_letters.replay import Claimed

ACTION: Final = "dead-letters.replay"


async def replay(
    request: ReplayRequest,
    commands: DeadLetterCommands,
    opener: Opener,
    publisher: ReplayPublisher,
    *,
    chosen: int,
    show: Callable[[Account], None],
    stopping: asyncio.Event,
) -> Account:
    """Replay what was asked for.

    Args:
        request: What was asked for.
        commands: The database.
        opener: Opens the payloads.
        publisher: Publishes the messages.
        chosen: How many are ready, for the record.
        show: Called with what is done so far after each batch.
        stopping: Set it to end in order after the batch under way.

    Returns:
        What was done. The rest is as it was, and repeating the request goes on with it.

    Raises:
        LedgerUnavailable: It could not begin.
    """
    account = Account(chosen=chosen)
    entry = Entry(*request.actor, ACTION, {**request.described(), "chosen": chosen})
    await commands.reconcile()
    account.replay, began = await commands.begin(request.actor, request.selection, entry, chosen)
    run = _Run(request, commands, opener, publisher, account, account.replay, began, show, stopping)
    async with _beating(commands, account):
        await run.publish_all()
    with suppress(LedgerUnavailable):
        await run.end()
    return account


@dataclass(slots=True)
class _Run:
    request: ReplayRequest
    commands: DeadLetterCommands
    opener: Opener
    publisher: ReplayPublisher
    account: Account
    replay: int
    began: datetime
    show: Callable[[Account], None]
    stopping: asyncio.Event
    claims: Claims = field(init=False)
    batches: Batches = field(init=False)
    watch: Watch = field(init=False)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        request, commands = self.request, self.commands
        self.claims = Claims(commands, request, self.replay, self.began, self.stopping)
        self.batches = Batches(
            commands,
            self.opener,
            self.publisher,
            self.account,
            self.replay,
            request.retry_for_seconds,
        )
        self.watch = Watch(commands)
        self.pace = Pace(request.rate)

    async def publish_all(self) -> None:
        """Publish what can be claimed; the account says why it ended early."""
        try:
            await self._publish_all()
        except (LedgerUnavailable, RowsRefused) as error:
            # Without the remedy, which is what a worker does by itself.
            self.account.stop(f"the database could not be reached: {str(error).partition('; ')[0]}")

    async def _publish_all(self) -> None:
        if self.request.canary:
            await self._send_canaries()
        while self._goes_on() and await self._publish_batch():
            self.show(self.account)
            await self._check_failures()
        self.account.held = self.claims.held

    def _goes_on(self) -> bool:
        if self.stopping.is_set():
            self.account.stop("interrupted")
        return self.account.stopped is None and self._room() != 0

    def _room(self) -> int | None:
        limit = self.request.limit
        return None if limit is None else max(0, limit - self.account.published)

    async def _publish_batch(self) -> bool:
        """Publish the next batch; return whether there was one."""
        loop = asyncio.get_running_loop()
        if await self._stopped_within(self.pace.wait(loop.time())):
            return True
        batch = await self._claim(self.pace.size(self._room()))
        if batch:
            self.pace.published(len(batch), loop.time())
            self.watch.add(await self.batches.publish(batch, Lane.BACKLOG))
        return bool(batch)

    async def _claim(self, most: int) -> list[Claimed]:
        return await retry_for(self.request.retry_for_seconds, lambda: self.claims.next(most))

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
        most = self.request.canary
        room = self._room()
        batch = await self._claim(most if room is None else min(most, room))
        ids = await self.batches.publish(batch, Lane.LIVE)
        self.show(self.account)
        seconds = self.request.canary_seconds
        results = await await_outcomes(self.commands, ids, seconds, self.stopping)
        account = self.account
        account.canaries, account.silent = tuple(results), len(ids) - len(results)
        account.counts += count_outcomes(results)
        if account.counts.failed:
            account.stop("not every canary resolved", "aborted")
        elif account.silent and not self.stopping.is_set():
            account.stop(f"{account.silent} canaries had no outcome in {seconds:g} s", "aborted")

    async def _check_failures(self) -> None:
        percent = self.request.abort_percent
        if percent is None:
            return
        account = self.account
        account.counts = await self.watch.look(account.counts)
        if account.counts.exceeds(percent):
            share = f"{account.counts.failed} of {account.counts.known} outcomes"
            account.stop(f"too many failed again: {share}, over {percent:g} %", "aborted")

    async def end(self) -> None:
        """Release the rest, record the end, and count what is left."""
        account = self.account
        subject = {
            "replay": self.replay,
            "state": account.state,
            "published": account.published,
            "refused": account.refusals,
            **({"stopped": account.stopped} if account.stopped else {}),
        }
        entry = Entry(*self.request.actor, f"{ACTION}.end", subject)
        counts = (account.published, account.refusals)
        await retry_for(
            self.request.retry_for_seconds,
            lambda: self.commands.end(self.replay, account.state, *counts, entry),
        )
        if account.stopped is not None:
            await self._count_rest()

    async def _count_rest(self) -> None:
        # What has failed since it began was replayed by it, or not chosen.
        chosen = self.request.selection
        before = self.began if chosen.until is None else min(chosen.until, self.began)
        preview = await self.commands.preview(
            replace(chosen, until=before), self.request.margin, self.request.keys, self.replay
        )
        self.account.left = preview.ready


@asynccontextmanager
async def _beating(commands: DeadLetterCommands, account: Account) -> AsyncIterator[None]:
    """Record a heartbeat of the replay every two seconds, until the block ends."""
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(_beat(commands, account))
        try:
            yield
        finally:
            beating.cancel()


async def _beat(commands: DeadLetterCommands, account: Account) -> None:
    assert account.replay is not None
    while True:
        await asyncio.sleep(HEARTBEAT.total_seconds())
        with suppress(LedgerUnavailable):
            await commands.beat(account.replay, account.published, account.refusals)
