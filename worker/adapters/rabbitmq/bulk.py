"""Publishing a long list: bounded in flight, over lost connections, each message accounted for."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from worker.adapters.rabbitmq.connection import (
    PRECONDITION_FAILED,
    ChannelRefused,
    close_quietly,
    open_connection,
    user_of,
)
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core import backoff
from worker.core.exceptions import BrokerLost, BrokerUnavailable, Unroutable, Unsendable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aio_pika.abc import AbstractConnection

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
        self._url = url
        self._account = account
        self._patience = patience
        self._connection: AbstractConnection | None = None
        self._publisher: Publisher | None = None
        self._user_id: str | None = None
        self._signs = True
        self._connecting = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._last_confirmed = float("-inf")
        self.gave_up: str | None = None

    def stop(self) -> None:
        """Take no further batch, and try nothing again."""
        self._stopping.set()

    async def run(self, next_batch: Callable[[], Awaitable[Sequence[Item]]]) -> None:
        """Publish batches until an empty one comes.

        Raises:
            BrokerUnavailable: There was no connection to begin with. No batch was taken.
            BrokerLost: The same, a moment later.
        """
        try:
            await self._connected()
            async with asyncio.TaskGroup() as group:
                for _ in range(SENDERS):
                    group.create_task(self._send(next_batch))
        finally:
            await self._disconnect()

    async def _send(self, next_batch: Callable[[], Awaitable[Sequence[Item]]]) -> None:
        while not self._stopping.is_set() and (batch := await next_batch()):
            await self._deliver(batch)

    async def _deliver(self, batch: Sequence[Item]) -> None:
        began = asyncio.get_running_loop().time()
        failures = 0
        while batch:
            again = self._settle(batch, await self._attempt(batch))
            failures += 1
            if again and (self._is_hopeless(began, again[0][1]) or await self._stopped(failures)):
                for item, fault in again:
                    self._account.failed(item, str(fault))
                return
            batch = [item for item, _ in again]

    async def _attempt(self, batch: Sequence[Item]) -> Sequence[Exception | None]:
        try:
            publisher = await self._connected()
        except BrokerUnavailable as error:
            return [error] * len(batch)
        user_id = self._user_id
        signed = [replace(item.message, user_id=user_id) for item in batch]
        faults = await publisher.publish_all(signed)
        if user_id is not None and any(map(_is_another_user, faults)):
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

    async def _stopped(self, failures: int) -> bool:
        """Wait a while before another attempt; whether there shall be none."""
        delay = backoff.RECONNECT.delay(failures, random.random())  # noqa: S311 - spread, no secret
        try:
            async with asyncio.timeout(delay):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _connected(self) -> Publisher:
        async with self._connecting:
            if self._publisher is None or self._publisher.is_closed:
                await self._disconnect()
                url = self._url()
                self._connection = await open_connection(url, name="resolution publish")
                self._user_id = user_of(url) if self._signs else None
                self._publisher = await Publisher.open(self._connection)
            return self._publisher

    async def _disconnect(self) -> None:
        connection, self._connection, self._publisher = self._connection, None, None
        if connection is not None:
            await close_quietly(connection)


def _is_another_user(fault: Exception | None) -> bool:
    """Whether the broker knows who publishes by another name than the message bears."""
    return (
        isinstance(fault, ChannelRefused)
        and fault.code == PRECONDITION_FAILED
        and "user_id" in fault.words
    )
