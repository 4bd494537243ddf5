"""Publishing a long list: bounded in flight, over lost connections, each message accounted for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from worker.adapters.rabbitmq.connection import PRECONDITION_FAILED, ChannelRefused
from worker.adapters.rabbitmq.publisher_link import PublisherLink
from worker.core.exceptions import BrokerLost, Unroutable, Unsendable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from worker.core.token.outgoing import Outgoing

SENDERS: Final = 4
MOST_IN_A_BATCH: Final = 50

_HOPELESS: Final = (Unroutable, ChannelRefused)
"""What every further message would meet as well: there is no sense in going on."""


@dataclass(frozen=True, slots=True)
class Item:
    """A message, and its place in the list."""

    number: int
    message: Outgoing


class Account(Protocol):
    """Who is told what became of each message."""

    def confirmed(self, item: Item) -> None:
        """The broker has it."""
        ...

    def failed(self, item: Item, reason: str) -> None:
        """It is not known to be published, and will not be tried again."""
        ...


class Bulk:
    """Publishes batches until there are none, and tries again what was not confirmed.

    A message whose result is unknown is sent again under the same id: the list is published at
    least once.

    Each message bears the user who publishes it, so that callers have turns.

    Attributes:
        gave_up: Why it stopped before the end, or None.
    """

    def __init__(self, url: Callable[[], str], account: Account, patience: float) -> None:
        """Publish nothing yet.

        Args:
            url: Gives the broker's address, asked at each connection.
            account: Is told what becomes of each message.
            patience: Seconds without any confirmation after which it gives up on a broker that
                is away or full.
        """
        self._link = PublisherLink(url, "resolution publish")
        self._account = account
        self._patience = patience
        self._signs = True
        self._last_confirmed = float("-inf")
        self.gave_up: str | None = None

    def stop(self) -> None:
        """Take no further batch, and try nothing again."""
        self._link.stopping.set()

    async def run(self, next_batch: Callable[[], Awaitable[Sequence[Item]]]) -> None:
        """Publish batches until an empty one comes.

        Raises:
            BrokerUnavailable: There was no connection to begin with. No batch was taken.
            BrokerLost: The same, a moment later.
        """
        try:
            await self._link.open()
            async with asyncio.TaskGroup() as group:
                for _ in range(SENDERS):
                    group.create_task(self._send(next_batch))
        finally:
            await self._link.close()

    async def _send(self, next_batch: Callable[[], Awaitable[Sequence[Item]]]) -> None:
        while not self._link.stopping.is_set() and (batch := await next_batch()):
            await self._deliver(batch)

    async def _deliver(self, batch: Sequence[Item]) -> None:
        began = asyncio.get_running_loop().time()
        failures = 0
        while batch:
            again = self._settle(batch, await self._attempt(batch))
            failures += 1
            hopeless = bool(again) and self._is_hopeless(began, again[0][1])
            if again and (hopeless or await self._link.is_stopped_before(failures)):
                for item, fault in again:
                    self._account.failed(item, str(fault))
                return
            batch = [item for item, _ in again]

    async def _attempt(self, batch: Sequence[Item]) -> Sequence[Exception | None]:
        signed = self._signs
        faults = await self._link.publish_all([item.message for item in batch], signed=signed)
        if signed and any(map(_is_another_user, faults)):
            # Signed in by a certificate or an access token, one has another name on the broker.
            self._signs = False
            return [None if fault is None else BrokerLost(str(fault)) for fault in faults]
        return faults

    def _settle(
        self, batch: Sequence[Item], faults: Sequence[Exception | None]
    ) -> list[tuple[Item, Exception]]:
        again = []
        for item, fault in zip(batch, faults, strict=True):
            if fault is None:
                self._last_confirmed = asyncio.get_running_loop().time()
                self._account.confirmed(item)
            elif isinstance(fault, Unsendable):
                self._account.failed(item, str(fault))
            else:
                again.append((item, fault))
        return again

    def _is_hopeless(self, began: float, fault: Exception) -> bool:
        quiet_since = max(began, self._last_confirmed)
        impatient = asyncio.get_running_loop().time() - quiet_since > self._patience
        if impatient or isinstance(fault, _HOPELESS):
            self.gave_up = self.gave_up or str(fault)
            self.stop()
            return True
        return False


def _is_another_user(fault: Exception | None) -> bool:
    """Whether the broker knows who publishes by another name than the message bears."""
    return (
        isinstance(fault, ChannelRefused)
        and fault.code == PRECONDITION_FAILED
        and "user_id" in fault.words
    )
