"""Who brings tokens to the worker, how long each waits for its answer, and who hears the events."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aio_pika

from harness import contract
from harness.servers import reply_key
from tests.neighbours.watching import becomes

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

ANSWERS: Final = "resolution.answers"
EVENTS: Final = "resolution.events"
_CONFIRM_SECONDS: Final = 60.0
_UNCONFIRMED: Final = 50


class Reply(NamedTuple):
    """A reply: what it says, and when it came (loop time)."""

    status: str
    at: float


class Caller:
    """A web tier: publishes tokens at an even pace, and hears the replies if it listens.

    Args:
        exchange: Where it publishes.
        queue: Where its replies go.
        keys: What it names as `reply_to`, in turn.
        chance: Draws of this run.

    Attributes:
        asked: When each submission was published (loop time), by message id.
        replies: What came for each, by message id.
        tokens: Each submission's token, by message id.
    """

    def __init__(self, exchange: Any, queue: Any, keys: list[str], chance: random.Random) -> None:
        self._exchange = exchange
        self._queue = queue
        self._keys = keys
        self._chance = chance
        self._run = secrets.token_hex(6)
        self.asked: dict[str, float] = {}
        self.replies: defaultdict[str, list[Reply]] = defaultdict(list)
        self.tokens: dict[str, str] = {}

    async def listen(self) -> None:
        """Begin to take the replies."""
        await self._queue.consume(self._hear, no_ack=True)

    async def _hear(self, message: Any) -> None:
        told = contract.outcome(message.body)
        reply = Reply(told["status"], asyncio.get_running_loop().time())
        self.replies[told["message_id"]].append(reply)

    async def bring(
        self,
        count: int,
        rate: float,
        word: str = "ok",
        members: Mapping[str, object] | None = None,
        source: Callable[[int], str] | None = None,
        **properties: Any,
    ) -> None:
        """Publish so many tokens, so many a second, whatever becomes of those before.

        Args:
            count: How many.
            rate: How many a second; each comes at a random moment of its own slot.
            word: The token's first word, which tells the simulator what to answer.
            members: Further members of the body.
            source: Who brought each to this caller, by its number, if that is to be told.
            properties: Further properties of the message.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                due = began + (number + self._chance.random()) / rate
                await asyncio.sleep(due - loop.time())
                told = {} if source is None else {"source": source(number)}
                group.create_task(self._publish(word, {**told, **(members or {})}, properties))

    async def _publish(
        self, word: str, members: Mapping[str, object], properties: Mapping[str, Any]
    ) -> None:
        number = len(self.asked)
        name = f"{self._run}-{number}"
        token = f"{word}-{name}"
        self.tokens[f"m-{name}"] = token
        self.asked[f"m-{name}"] = asyncio.get_running_loop().time()
        message = aio_pika.Message(
            json.dumps({"version": 1, "registration_token": token, **members}).encode(),
            content_type="application/json",
            delivery_mode=2,
            message_id=f"m-{name}",
            reply_to=self._keys[number % len(self._keys)],
            **properties,
        )
        publishing = self._exchange.publish(
            message, "token", mandatory=True, timeout=_CONFIRM_SECONDS
        )
        assert type(await publishing).__name__ == "Ack"

    async def pour(self, bodies: Iterable[bytes], **properties: Any) -> None:
        """Publish bodies as they are, as fast as the broker takes them; none asks for a reply."""
        turns = asyncio.Semaphore(_UNCONFIRMED)
        async with asyncio.TaskGroup() as group:
            for body in bodies:
                await turns.acquire()
                message = aio_pika.Message(
                    body, content_type="application/json", delivery_mode=2, **properties
                )
                publishing = self._exchange.publish(
                    message, "token", mandatory=True, timeout=_CONFIRM_SECONDS
                )
                group.create_task(publishing).add_done_callback(lambda _: turns.release())

    async def all_answered(self, seconds: float) -> None:
        """Wait until each has its reply, or until so many seconds are over."""
        await becomes(lambda: self.asked.keys() <= self.replies.keys(), seconds)

    def waits(self) -> list[float]:
        """How long each waited for its first reply (seconds); infinite without one."""
        return [
            self.replies[one][0].at - asked if one in self.replies else math.inf
            for one, asked in self.asked.items()
        ]

    async def held(self) -> int:
        """How many messages its queue holds that nobody took."""
        found = await self._queue.declare(timeout=30)
        return int(found.message_count or 0)


@asynccontextmanager
async def calling(
    url: str,
    name: str,
    chance: random.Random,
    *,
    keys: int = 1,
    arguments: Mapping[str, Any] | None = None,
) -> AsyncIterator[Caller]:
    """A caller until the block ends; it hears nothing before it listens.

    Args:
        url: The broker's address for the web tier.
        name: A part of its routing keys.
        chance: Draws of this run.
        keys: How many routing keys it has replies sent to, all of them to one queue.
        arguments: Of that queue.
    """
    begin = reply_key(url, f"{name}-{secrets.token_hex(6)}")
    named = [f"{begin}.{number}" for number in range(keys)]
    async with await aio_pika.connect(url, timeout=30) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange("resolution", ensure=False)
        queue = await channel.declare_queue(begin, durable=True, arguments=dict(arguments or {}))
        for key in named:
            await queue.bind(ANSWERS, key)
        yield Caller(exchange, queue, named, chance)


class Observer:
    """Somebody who wants every event.

    Attributes:
        heard: How often the event of each submission came, by message id.
    """

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self.heard: Counter[str] = Counter()

    async def listen(self) -> None:
        """Begin to take the events, those that wait first."""
        await self._queue.consume(self._hear)

    async def _hear(self, message: Any) -> None:
        self.heard[contract.outcome(message.body)["message_id"]] += 1
        await message.ack()

    async def has_all(self, caller: Caller, seconds: float) -> None:
        """Wait until it has the event of each submission, or until so many seconds are over."""
        await becomes(lambda: caller.asked.keys() <= self.heard.keys(), seconds)

    def missing(self, caller: Caller) -> int:
        """How many submissions it heard nothing of."""
        return len(caller.asked.keys() - self.heard.keys())

    def repeated(self, caller: Caller) -> int:
        """How many events it heard once too often."""
        return sum(self.heard[one] - 1 for one in caller.asked if one in self.heard)


@asynccontextmanager
async def observing(
    url: str, name: str, arguments: Mapping[str, Any] | None = None
) -> AsyncIterator[Observer]:
    """An observer until the block ends; its queue fills from now on, whether it listens or not."""
    async with await aio_pika.connect(url, timeout=30) as connection:
        channel = await connection.channel()
        await channel.set_qos(200)
        queue = await channel.declare_queue(name, durable=True, arguments=dict(arguments or {}))
        await queue.bind(EVENTS, "#")
        yield Observer(queue)
