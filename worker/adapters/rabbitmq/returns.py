"""Mandatory messages in flight, of which the broker may say that no queue takes them.

aiormq finds out which message came back unroutable by its `message_id` alone. Of two with one id,
both mandatory and in flight at once, it would take one for the other, and the lost one for
confirmed: so the second waits until the first is settled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from worker.adapters.rabbitmq.library import ConfirmChannel
    from worker.core.token.outgoing import Outgoing


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message as it goes over the wire, and its place among those of a call."""

    place: int
    message: Outgoing
    frames: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was given its number on the channel; 0 if it was not written."""

    place: int
    message: Outgoing
    number: int
    confirmation: asyncio.Future[Any]


class MandatoryInFlight:
    """The mandatory messages in flight on one channel."""

    def __init__(self, wire: ConfirmChannel) -> None:
        self._wire = wire
        self._by_id: dict[str, asyncio.Future[Any]] = {}

    def __len__(self) -> int:
        """How many they are."""
        return len(self._by_id)

    def add(self, sent: Sent) -> None:
        """A message is in flight."""
        if sent.message.mandatory:
            self._by_id[sent.message.message_id] = sent.confirmation
            self._wire.expect_return(sent.message.message_id, sent.number)

    def forget(self, sent: Sent) -> None:
        """A message is settled, or nobody waits for it any more."""
        message_id = sent.message.message_id
        if self._by_id.get(message_id) is sent.confirmation:
            del self._by_id[message_id]
        self._wire.forget_return(message_id, sent.number)

    def twin(self, one: Encoded) -> asyncio.Future[Any] | None:
        """What a message has to wait for, if it has to."""
        twin = self._by_id.get(one.message.message_id)
        return None if twin is None or twin.done() else twin

    def split(self, waiting: list[Encoded]) -> tuple[list[Encoded], list[Encoded]]:
        """What may go now, and what has to wait for another of its id."""
        now: list[Encoded] = []
        later: list[Encoded] = []
        taken: set[str] = set()
        for one in waiting:
            message_id = one.message.message_id
            if not one.message.mandatory:
                now.append(one)
            elif message_id in taken or self.twin(one):
                later.append(one)
            else:
                taken.add(message_id)
                now.append(one)
        return now, later
