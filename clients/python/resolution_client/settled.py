"""All answers to a caller, through a durable queue: none is lost for want of somebody waiting."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Self

import aio_pika

from resolution_client import answers
from resolution_client.broker import Lost, Refused, asked, open_channel
from resolution_client.errors import ResolverError
from resolution_client.link import ANSWERS, channel_closed, ends_with
from resolution_client.observer import log

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

    from resolution_client.link import Link
    from resolution_client.observer import Safe

DEFAULT_BOUND: Final = 100_000
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_AGAIN_SECONDS: Final = 1.0
_COUNT_SECONDS: Final = 30.0
_NEVER: Final = 1_000_000_000  # RabbitMQ 4 drops a message after 20 returns unless told otherwise
_MISSING: Final = 404


class Settlements:
    """An asynchronous iterator over the answers in a queue; made by `Resolver.settled`.

    Attributes:
        lost: Answers that were dropped because the queue was full, as far as counted.
    """

    def __init__(self, link: Link, caller: str, queue: str, bound: int, observer: Safe) -> None:
        if not _NAME.fullmatch(queue):
            raise ResolverError(f"the queue name {queue!r} may have only letters, digits, - and _")
        self._link = link
        self._observer = observer
        self._binding = f"resolution.reply.{caller}.#"
        self._queue = queue
        self._name = f"resolution.reply.{caller}.settled.{queue}"
        self._dropped = f"{self._name}.dropped"
        self._bound = bound
        self._channel: AbstractChannel | None = None
        self._messages: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        self._unacked: AbstractIncomingMessage | None = None
        self._counted_at = float("-inf")
        self._closed = False
        self._left = False
        self._loop = asyncio.get_running_loop()
        self.lost = 0

    def __aiter__(self) -> Self:
        """Begin, or begin anew: what was given last by a loop that was left is not done."""
        self._left = self._unacked is not None
        return self

    async def __anext__(self) -> answers.Outcome:
        if self._left:
            self._left, self._unacked = False, None
            await self._close_channel()
        await self._ack()
        while not self._closed:
            message = await self._next_message()
            if message is None:
                continue
            self._unacked = message
            try:
                return answers.read(message.body)
            except answers.Unreadable as fault:
                log.error("an answer in %s is dropped: %s", self._name, fault)
                self._observer.tell("dropped", "unreadable")
                await self._ack()
        raise StopAsyncIteration

    def __del__(self) -> None:
        """Give the answer that was not acked back: this is what a loop whose body failed leaves."""
        if getattr(self, "_channel", None) is not None and not self._loop.is_closed():
            self._release()

    def _release(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._loop.call_soon_threadsafe(self._link.release, channel)

    def stop(self) -> None:
        """End it, without waiting for the broker."""
        self._closed = True
        self._messages.put_nowait(None)

    async def aclose(self) -> None:
        """End it; the answer that was not acked comes again."""
        self.stop()
        await self._close_channel()

    async def _ack(self) -> None:
        message, self._unacked = self._unacked, None
        if message is None or self._channel is None:
            return
        try:
            await asked(message.ack())
        except Lost as lost:
            log.info("an answer in %s comes again: %s", self._name, lost)
            await self._close_channel()
        except asyncio.CancelledError:
            # Nobody knows whether the ack went out; without it no other answer would ever come.
            self._release()
            raise

    async def _next_message(self) -> AbstractIncomingMessage | None:
        """The next message of the present channel; None if that was lost, or there is none."""
        try:
            if self._channel is None:
                async with asyncio.timeout(_AGAIN_SECONDS):
                    await self._link.up.wait()
                await self._open()
            if self._closed:
                await self._close_channel()
                return None
            await self._count_lost()
            async with asyncio.timeout(_COUNT_SECONDS):
                message = await self._messages.get()
        except TimeoutError:
            return None
        except Lost as lost:
            log.info("no answers from %s: %s", self._name, lost)
            await asyncio.sleep(_AGAIN_SECONDS)
            return None
        if message is None:
            await self._close_channel()
        return message

    # --- the channel ---

    async def _open(self) -> None:
        """Open a channel of the present connection, and consume.

        Raises:
            Lost: It could not be opened; try again.
            ResolverError: The broker refuses the queue, and would again.
        """
        life = self._link.life
        if life is None:
            raise Lost(self._link.fault)
        self._messages = asyncio.Queue()
        channel = await open_channel(life.connection, confirms=False)
        try:
            await self._consume(channel)
        except Refused as refused:
            if refused.code == _MISSING:
                raise
            fault = f"settled({self._queue!r}): {refused}"
        else:
            self._channel = channel
            self._counted_at = float("-inf")
            return
        raise ResolverError(fault)

    async def _consume(self, channel: AbstractChannel) -> None:
        await asked(channel.set_qos(prefetch_count=1))
        dropped = await asked(
            channel.declare_exchange(self._dropped, aio_pika.ExchangeType.FANOUT, durable=True)
        )
        lost = await asked(channel.declare_queue(self._dropped, durable=True, arguments=_LOST))
        await asked(lost.bind(dropped))
        queue = await asked(
            channel.declare_queue(self._name, durable=True, arguments=self._arguments)
        )
        await asked(queue.bind(ANSWERS, self._binding))
        messages = self._messages
        await ends_with(channel, lambda _: messages.put_nowait(None))
        await asked(queue.consume(messages.put))

    @property
    def _arguments(self) -> dict[str, Any]:
        return {
            "x-queue-type": "quorum",
            "x-max-length": self._bound,
            "x-overflow": "drop-head",
            "x-dead-letter-exchange": self._dropped,
            "x-delivery-limit": _NEVER,
        }

    async def _close_channel(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel_closed(channel)

    async def _count_lost(self) -> None:
        """Count what was dropped: it is moved to a queue of its own, which is emptied here."""
        now = asyncio.get_running_loop().time()
        if self._channel is None or now - self._counted_at < _COUNT_SECONDS:
            return
        self._counted_at = now
        try:
            count = await asked(_purged(self._channel, self._dropped))
        except Lost as lost:
            log.info("what was dropped from %s can't be counted: %s", self._name, lost)
            return
        if count:
            self.lost += count
            log.error("%d answers were dropped from %s: it was full", count, self._name)
            self._observer.tell("answers_lost", self._queue, count)


async def _purged(channel: AbstractChannel, queue: str) -> int:
    """Empty a queue; returns how many messages were in it."""
    found = await channel.get_queue(queue, ensure=False)
    return int((await found.purge()).message_count or 0)


_LOST: Final[dict[str, Any]] = {
    "x-queue-type": "quorum",
    "x-max-length": DEFAULT_BOUND,
    "x-overflow": "drop-head",
}
