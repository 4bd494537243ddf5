"""A web tier: it submits tokens, and receives replies and events."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aio_pika

from harness import contract
from harness.servers import reply_key
from harness.waiting import GENEROUS_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from aio_pika.abc import AbstractIncomingMessage

    from harness.installation import Installation

LANES = {"live": "token", "backlog": "backlog"}
QUEUES = ("resolution.tokens", "resolution.backlog", "resolution.crowd", "resolution.parked")


@dataclass(frozen=True, slots=True)
class Received:
    """A reply or an event as it came."""

    routing_key: str
    correlation_id: str | None
    content_type: str | None
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """Its JSON object."""
        body = json.loads(self.raw)
        assert isinstance(body, dict)
        return body

    @property
    def status(self) -> str:
        """The outcome it tells."""
        return str(self.body["status"])


class WebTier:
    """A web tier: publishes with confirms, and hears what becomes of its submissions."""

    def __init__(self, reply_to: str) -> None:
        self.reply_to = reply_to
        self.events: defaultdict[str, list[Received]] = defaultdict(list)
        self.replies: defaultdict[str, list[Received]] = defaultdict(list)
        self._exchange: Any = None
        self._looking: Any = None

    async def publish(self, body: bytes, *, lane: str = "live", **properties: Any) -> None:
        """Publish any body, with any properties, and wait for the confirm."""
        properties.setdefault("content_type", "application/json")
        message = aio_pika.Message(body, delivery_mode=2, **properties)
        confirm = await self._exchange.publish(message, LANES[lane], mandatory=True, timeout=60)
        assert type(confirm).__name__ == "Ack", confirm

    async def submit(
        self,
        token: str,
        *,
        lane: str = "live",
        message_id: str | None = None,
        correlation_id: str | None = None,
        timestamp: datetime | None = None,
        reply_to: str | None = None,
        **members: object,
    ) -> str:
        """Submit a token; returns the message id."""
        message_id = message_id or f"m-{uuid.uuid4()}"
        body = json.dumps({"version": 1, "registration_token": token, **members}).encode()
        await self.publish(
            body,
            lane=lane,
            message_id=message_id,
            correlation_id=correlation_id,
            timestamp=timestamp,
            reply_to=reply_to,
        )
        return message_id

    async def event(
        self, message_id: str, nth: int = 1, seconds: float = GENEROUS_SECONDS
    ) -> Received:
        """The nth event that tells of a submission."""
        await eventually(
            lambda: len(self.events[message_id]) >= nth, f"event {nth} of {message_id}", seconds
        )
        return self.events[message_id][nth - 1]

    async def reply(self, message_id: str, seconds: float = GENEROUS_SECONDS) -> Received:
        """The first reply to a submission that asked for one."""
        await eventually(lambda: self.replies[message_id], f"reply to {message_id}", seconds)
        return self.replies[message_id][0]

    async def settled(
        self, token: str, *, seconds: float = GENEROUS_SECONDS, **members: Any
    ) -> Received:
        """Submit a token and wait for its event."""
        return await self.event(await self.submit(token, **members), seconds=seconds)

    async def depth(self, queue: str) -> int:
        """How many messages are ready in a queue."""
        found = await self._looking.declare_queue(queue, passive=True)
        return int(found.declaration_result.message_count or 0)

    async def take(self, queue: str) -> set[str]:
        """Take all messages out of a queue; their ids."""
        found = await self._looking.get_queue(queue, ensure=False)
        taken = set()
        while message := await found.get(no_ack=True, fail=False):
            taken.add(message.message_id)
        return taken

    async def depths(self, *more: str) -> dict[str, int]:
        """How many messages are ready in the lanes, among the parked, and in others named."""
        return {queue: await self.depth(queue) for queue in (*QUEUES, *more)}


@asynccontextmanager
async def web_tier(stage: Installation) -> AsyncIterator[WebTier]:
    """A web tier with its own rights; events are heard by somebody who may do all."""
    reply_to = reply_key(stage.web, str(uuid.uuid4()))
    told = WebTier(reply_to)
    async with (
        await aio_pika.connect(stage.web, timeout=30) as web,
        await aio_pika.connect(stage.broker.url, timeout=30) as owner,
    ):
        channel = await web.channel(publisher_confirms=True, on_return_raises=True)
        told._exchange = await channel.get_exchange("resolution", ensure=False)
        answers = await channel.declare_queue(reply_to, exclusive=True)
        await answers.bind("resolution.answers", reply_to)
        told._looking = await owner.channel()
        events = await told._looking.declare_queue(exclusive=True)
        await events.bind("resolution.events", "#")
        await answers.consume(_collect(told.replies), no_ack=True)
        await events.consume(_collect(told.events), no_ack=True)
        yield told


def _collect(into: defaultdict[str, list[Received]]) -> Any:
    async def receive(message: AbstractIncomingMessage) -> None:
        told = Received(
            message.routing_key or "", message.correlation_id, message.content_type, message.body
        )
        into[contract.outcome(told.raw)["message_id"]].append(told)

    return receive
