"""Publishes to the broker with confirms, and retries over lost connections within a bound."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.adapters.rabbitmq.connection import ChannelRefused
from worker.adapters.rabbitmq.publisher_link import PublisherLink
from worker.core.exceptions import BrokerLost, BrokerUnavailable, Refused, Unroutable, Unsendable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.core.token.outgoing import Outgoing


@dataclass(slots=True)
class Sent:
    """What became of a batch; each message is in one of the three, by its place.

    Attributes:
        confirmed: The broker has it.
        unpublished: The broker does not have it.
        doubtful: It may have it.
        fault: Why no more is to be sent, or None.
    """

    confirmed: set[int] = field(default_factory=set)
    unpublished: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)
    fault: str | None = None


class ReplayPublisher(PublisherLink):
    """Publishes batches, one after another.

    Args:
        url: Returns the broker's address; called for each new connection.
        retry_for_seconds: How long a batch is retried while the broker is away.
        stopping: Once it is set, nothing is retried.
    """

    def __init__(
        self,
        url: Callable[[], str],
        retry_for_seconds: float,
        stopping: asyncio.Event | None = None,
    ) -> None:
        super().__init__(url, "resolution replay", stopping)
        self._retry_for_seconds = retry_for_seconds

    async def send(self, messages: Sequence[Outgoing]) -> Sent:
        """Publish a batch; send what is in doubt again while there is time left."""
        began = asyncio.get_running_loop().time()
        sent, pending, failures = Sent(), list(range(len(messages))), 0
        while pending:
            faults = await self.publish_all([messages[place] for place in pending])
            pending = _sorted(sent, pending, faults)
            failures += 1
            if sent.fault or not pending:
                break
            is_over = asyncio.get_running_loop().time() - began > self._retry_for_seconds
            if is_over or await self.is_stopped_before(failures):
                sent.fault = str(next(fault for fault in faults if fault is not None))
                break
        sent.unpublished |= set(pending) - sent.doubtful
        sent.doubtful -= sent.confirmed
        return sent


def _sorted(sent: Sent, places: Sequence[int], faults: Sequence[Exception | None]) -> list[int]:
    """Note what became of each; return the places of those that may be sent again."""
    again = []
    for place, fault in zip(places, faults, strict=True):
        match fault:
            case None:
                sent.confirmed.add(place)
            case Unsendable():
                sent.unpublished.add(place)
            case Refused() | Unroutable() | ChannelRefused():
                sent.fault = str(fault)
                again.append(place)
            case BrokerUnavailable() if not isinstance(fault, BrokerLost):
                again.append(place)  # there was no connection: it was not sent
            case _:
                sent.doubtful.add(place)
                again.append(place)
    return again
