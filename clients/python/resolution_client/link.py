"""The connection to the broker: one life after another, each with a reply queue of its own.

It is a plain connection under a loop of our own, not the library's robust one: that one keeps the
name of its queues, so an answer sent between two lives would be taken for one of the new life's,
and it never gets out of a handshake that is half done.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aio_pika

from resolution_client import broker
from resolution_client.broker import Lost, Refused, asked
from resolution_client.observer import log, reports_failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from aio_pika.abc import (
        AbstractChannel,
        AbstractConnection,
        AbstractExchange,
        AbstractIncomingMessage,
        AbstractQueue,
    )

    from resolution_client.address import Address
    from resolution_client.submission import Submission

SUBMISSIONS: Final = "resolution"
SUBMISSION_KEY: Final = "token"
ANSWERS: Final = "resolution.answers"
STATE: Final = "resolution.state"
CONFIRM_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 2.0
_BACKOFF_SECONDS: Final = 0.25
_MOST_BACKOFF_SECONDS: Final = 2.0
_MOST_DOUBLINGS: Final = 3


@dataclass(eq=False, slots=True)
class Life:
    """One life of the connection.

    Attributes:
        number: From 1.
        connection: Of the library.
        reply_to: Where answers come that were asked for in this life.
        hears_workers: Whether it is told what the workers do.
        ended: Done, with the reason, once it is over.
    """

    number: int
    connection: AbstractConnection
    reply_to: str
    ended: asyncio.Future[str]
    exchange: AbstractExchange | None = None
    hears_workers: bool = False

    def end(self, reason: str) -> None:
        """It is of no use any more."""
        if not self.ended.done():
            self.ended.set_result(reason)

    async def publish(self, submission: Submission, user: str | None, seconds: float) -> None:
        """Publish a submission, and wait for the confirm.

        Raises:
            Lost: It is not confirmed, and may or may not be published.
        """
        assert self.exchange is not None
        message = aio_pika.Message(
            submission.body,
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=submission.message_id,
            correlation_id=submission.message_id,
            reply_to=self.reply_to,
            user_id=user,
            app_id="resolution-client",
        )
        publishing = self.exchange.publish(message, SUBMISSION_KEY, mandatory=True)
        await asked(publishing, min(seconds, CONFIRM_SECONDS))


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what comes over the link; none of these may raise or wait.

    Attributes:
        reply: Called with the body of each reply.
        state: Called with the name of a worker, and the body in which it tells of itself.
        changed: Called when a life has begun or ended.
    """

    reply: Callable[[bytes], None]
    state: Callable[[str, bytes], None]
    changed: Callable[[], None]


class Link:
    """Keeps a connection, as long as it runs.

    Attributes:
        life: The present life, or None.
        fault: Why there is none.
        up: Set while there is one.
    """

    def __init__(self, address: Address, caller: str, listener: Listener) -> None:
        self._address = address
        self._prefix = f"resolution.reply.{caller}."
        self._listener = listener
        self._lives = 0
        self._releasing: set[asyncio.Task[None]] = set()
        self.life: Life | None = None
        self.fault = "not connected yet"
        self.up = asyncio.Event()

    async def run(self) -> None:
        """Connect, and connect again after each loss, until cancelled."""
        reports_failures.set(True)
        failures = 0
        while True:
            try:
                await self._live()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever happens, it connects again
                lost = error if isinstance(error, Lost) else broker.translated(error)
                self.fault = str(lost)
                level = logging.DEBUG if failures else logging.WARNING
                log.log(level, "no connection: %s", lost)
                failures += 1
                self._listener.changed()
            await asyncio.sleep(_backoff(failures))

    def release(self, channel: AbstractChannel) -> None:
        """Close a channel that nobody uses any more; called in the event loop."""
        task = asyncio.get_running_loop().create_task(channel_closed(channel))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _live(self) -> None:
        """One life from its beginning to its end.

        Raises:
            Lost: It did not begin.
        """
        connection = await broker.connect(self._address, f"resolution-client {self._prefix}")
        try:
            self.life = await self._begin(connection)
            self.up.set()
            log.info("connected to the broker at %s", self._address.place)
            self._listener.changed()
            self.fault = await self.life.ended
            log.warning("connection lost: %s", self.fault)
        finally:
            self.life = None
            self.up.clear()
            self._listener.changed()
            await closed(connection)

    async def _begin(self, connection: AbstractConnection) -> Life:
        self._lives += 1
        reply_to = f"{self._prefix}{secrets.token_hex(16)}"
        ended = asyncio.get_running_loop().create_future()
        life = Life(self._lives, connection, reply_to, ended)
        channel = await broker.open_channel(connection, confirms=True)
        life.exchange = await channel.get_exchange(SUBMISSIONS, ensure=False)
        queue = await asked(channel.declare_queue(reply_to, exclusive=True, durable=False))
        await asked(queue.bind(ANSWERS, reply_to))
        await ends_with(channel, life.end)
        await asked(queue.consume(self._receive, no_ack=True))
        life.hears_workers = await self._hear_workers(connection, queue)
        return life

    async def _hear_workers(self, connection: AbstractConnection, queue: AbstractQueue) -> bool:
        """Have the workers' state come to the reply queue as well, on a channel of its own.

        A broker set up for an older release refuses it: then nobody is told that calls are stopped,
        and nothing else is amiss.
        """
        channel = await broker.open_channel(connection, confirms=False)
        try:
            underlay = await channel.get_underlay_channel()
            await asked(underlay.queue_bind(queue.name, STATE, ""))
            await asked(channel.close())
        except Refused as refused:
            log.warning("what workers do can't be heard: %s", refused)
            return False
        return True

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        if message.exchange == STATE:
            self._listener.state(message.app_id or "", message.body)
        else:
            self._listener.reply(message.body)


async def ends_with(channel: AbstractChannel, end: Callable[[str], None]) -> None:
    """Have `end` called with the reason once a channel, or its consumer, is no more."""

    def ended(closing: asyncio.Future[object]) -> None:
        end(str(broker.translated(None if closing.cancelled() else closing.exception())))

    underlay = await channel.get_underlay_channel()
    underlay.closing.add_done_callback(ended)
    underlay.on_consumer_cancel_callbacks.add(lambda _: end("the broker deleted the queue"))


async def channel_closed(channel: AbstractChannel) -> None:
    """Close a channel whatever state it is in, within a bound; what is unacked comes again."""
    if not channel.is_closed:
        try:
            await asked(channel.close(), _CLOSE_SECONDS)
        except Lost as lost:
            log.debug("while a channel was closed: %s", lost)


async def closed(connection: AbstractConnection) -> None:
    """Close a connection whatever state it is in, within a bound."""
    try:
        await asked(connection.close(), _CLOSE_SECONDS)
    except Lost as lost:
        log.debug("while a connection was closed: %s", lost)


def _backoff(failures: int) -> float:
    """Seconds, spread so that many clients don't come back in one moment."""
    bound = _BACKOFF_SECONDS * 2.0 ** min(failures, _MOST_DOUBLINGS)
    return random.uniform(0.05, min(bound, _MOST_BACKOFF_SECONDS))  # noqa: S311 - spread
