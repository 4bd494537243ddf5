"""A publisher whose connection is opened again whenever it was lost; for one-off commands."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.adapters.rabbitmq.connection import close_quietly, open_connection, user_of
from worker.adapters.rabbitmq.publisher import Publisher
from worker.core import backoff
from worker.core.exceptions import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aio_pika.abc import AbstractConnection

    from worker.core.token.outgoing import Outgoing


class PublisherLink:
    """One publisher at a time, on a connection of its own.

    Args:
        url: Returns the broker's address; called for each new connection.
        name: The connection's name, as the broker lists it.

    Attributes:
        stopping: Once it is set, nothing is waited for before another attempt.
    """

    def __init__(
        self, url: Callable[[], str], name: str, stopping: asyncio.Event | None = None
    ) -> None:
        self._url = url
        self._name = name
        self._opening = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._publisher: Publisher | None = None
        self._user: str | None = None
        self.stopping = stopping or asyncio.Event()

    async def open(self) -> Publisher:
        """Return the publisher, connected anew if it was closed.

        Raises:
            BrokerUnavailable: No connection could be opened.
            BrokerLost: The connection was lost at once.
        """
        async with self._opening:
            if self._publisher is None or self._publisher.is_closed:
                await self.close()
                url = self._url()
                self._connection = await open_connection(url, name=self._name)
                self._user = user_of(url)
                self._publisher = await Publisher.open(self._connection)
            return self._publisher

    async def close(self) -> None:
        """Close the connection, whatever state it is in."""
        connection, self._connection, self._publisher = self._connection, None, None
        if connection is not None:
            await close_quietly(connection)

    async def publish_all(
        self, messages: Sequence[Outgoing], *, signed: bool = False
    ) -> Sequence[Exception | None]:
        """Publish a batch once; `BrokerUnavailable` for each if no connection could be opened.

        Args:
            messages: In their order.
            signed: They are to bear the user of the connection.
        """
        try:
            publisher = await self.open()
        except BrokerUnavailable as error:
            # Whatever its kind, nothing was sent.
            return [BrokerUnavailable(str(error))] * len(messages)
        if signed:
            messages = [replace(message, user_id=self._user) for message in messages]
        return await publisher.publish_all(messages)

    async def is_stopped_before(self, attempt: int) -> bool:
        """Wait before another attempt, the first being 1; return whether `stopping` is set."""
        delay = backoff.RECONNECT.delay(attempt, random.random())  # noqa: S311 - spread, no secret
        try:
            async with asyncio.timeout(delay):
                await self.stopping.wait()
        except TimeoutError:
            return False
        return True
