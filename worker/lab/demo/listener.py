"""Who listens: every outcome's event, and the replies that this run asks for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aio_pika
import msgspec

from worker.adapters.rabbitmq.connection import bounded, connected
from worker.core.exceptions import BrokerLost
from worker.core.token.outgoing import ANSWERS, EVENTS
from worker.lab.demo.findings import Answer, Heard, Hearing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

    from worker.lab.demo.plan import Plan
    from worker.lab.demo.submissions import Spoilt

_SECONDS = 10.0


class _Error(msgspec.Struct):
    code: str


class _Outcome(msgspec.Struct):
    """Of an outcome, as the web tier reads it, the members that count here."""

    status: str
    error: _Error | None
    received_at: datetime
    settled_at: datetime

    @property
    def answer(self) -> Answer:
        return Answer(self.status, None if self.error is None else self.error.code)


_DECODER = msgspec.json.Decoder(_Outcome)


class Audience:
    """Hears what is said about the messages of one run.

    Attributes:
        hearing: What was heard so far.
    """

    def __init__(self, connection: AbstractConnection, run: str) -> None:
        self._connection = connection
        self._prefix = f"{run}-"
        self.hearing = Hearing()

    @property
    def settled(self) -> int:
        """How many different messages were answered so far."""
        return len(self.hearing.events)

    def check(self) -> None:
        """See that it still hears.

        Raises:
            BrokerLost: It does not.
        """
        if self._connection.is_closed:
            raise BrokerLost("the connection to the broker, on which events come, was lost")

    async def submit(self, raw: Sequence[Spoilt]) -> None:
        """Publish bodies that no command would send, each confirmed by the broker."""
        channel = await self._channel()
        exchange = await channel.get_exchange("resolution", ensure=False)
        for one in raw:
            message = aio_pika.Message(
                one.blunder.body or b"",
                message_id=one.message_id,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            await bounded(exchange.publish(message, "token", mandatory=True), _SECONDS)

    async def _listen(self, plan: Plan) -> None:
        channel = await self._channel()
        await self._consume(channel, EVENTS, "#", self._on_event)
        await self._consume(channel, ANSWERS, plan.reply_to, self._on_reply)

    async def _consume(
        self, channel: AbstractChannel, exchange: str, key: str, callback: _Callback
    ) -> None:
        # Exclusive: it goes with this connection, however that ends.
        queue = await bounded(channel.declare_queue(exclusive=True), _SECONDS)
        await bounded(queue.bind(exchange, key), _SECONDS)
        await bounded(queue.consume(callback, no_ack=True), _SECONDS)

    async def _channel(self) -> AbstractChannel:
        channel = self._connection.channel(on_return_raises=True)
        await bounded(channel.initialize(), _SECONDS)
        return channel

    async def _on_event(self, message: AbstractIncomingMessage) -> None:
        if message.message_id is None or not message.message_id.startswith(self._prefix):
            return  # of somebody else, on a broker that is not ours
        now = datetime.now(UTC)
        outcome = _DECODER.decode(message.body)
        heard = self.hearing.events.get(message.message_id)
        if heard is None:
            heard = Heard(outcome.received_at, outcome.settled_at, now)
            self.hearing.events[message.message_id] = heard
        heard.events += 1
        heard.answers.add(outcome.answer)

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        outcome = _DECODER.decode(message.body)
        said = (outcome.answer, message.correlation_id)
        self.hearing.replies[message.message_id or ""].add(said)


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    _Callback = Callable[[AbstractIncomingMessage], Awaitable[None]]


@asynccontextmanager
async def audience(url: str, plan: Plan) -> AsyncIterator[Audience]:
    """Listen for the length of a block.

    Raises:
        BrokerUnavailable: There is no connection.
        BrokerLost: The broker does not let us listen.
    """
    async with connected(url, name="resolution-worker demo") as connection:
        listening = Audience(connection, plan.run)
        await listening._listen(plan)  # noqa: SLF001 - the other half of making one
        yield listening
