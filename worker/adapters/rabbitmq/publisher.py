"""Publishing with confirms: a message is published when the broker has said so, not before.

Frames are written here rather than by aiormq's `basic_publish` (see `library.ConfirmChannel`). A
batch then costs one write and one wait, instead of a task, a lock and half a dozen callbacks a
message: about a fifth of the CPU. A message gets its number in the same step in which its frames
enter the write queue, so nothing has to be undone when a publish is cancelled while it waits.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from worker.adapters.rabbitmq.blocked import Bounds, watch_alarm
from worker.adapters.rabbitmq.connection import bounded, loss
from worker.adapters.rabbitmq.framing import frames
from worker.adapters.rabbitmq.late_confirms import LateConfirm, LateConfirms
from worker.adapters.rabbitmq.library import ConfirmChannel
from worker.adapters.rabbitmq.publish_results import result_of, settled
from worker.adapters.rabbitmq.returns import Encoded, MandatoryInFlight, Sent
from worker.adapters.rabbitmq.window import Window, batches
from worker.core.exceptions import BrokerLost, NotConfirmed, Unsendable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aio_pika.abc import AbstractChannel, AbstractConnection

    from worker.core.token.outgoing import Outgoing
    from worker.ports import PublishFailure, PublishResult

PUBLISH_SECONDS: Final = 10.0
IN_FLIGHT: Final = 512
MOST_AT_ONCE: Final = 128
PROMPT_SECONDS: Final = 0.3
"""So long `send` waits for confirmations; a broker at ease needs some milliseconds."""


class Publisher:
    """Publishes on a channel of its own, with confirms.

    It does not outlive that channel, nor a confirmation that did not come in time: a channel that
    fell silent is not trusted with anything more, though it may look alive.

    A broker under alarm is silent for as long as that lasts, and has what was sent: with `alarmed`
    given, that silence is waited through, until the alarm or the connection is over.
    """

    def __init__(
        self,
        channel: AbstractChannel,
        wire: ConfirmChannel,
        in_flight: int,
        alarmed: Callable[[str | None], None] | None = None,
    ) -> None:
        self._channel = channel
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._most_in_flight = in_flight
        self._window = Window(in_flight)
        self._turn = asyncio.Lock()
        self._returnable = MandatoryInFlight(wire)
        self._loss: BrokerLost | None = None
        self._closing: asyncio.Future[None] = self._loop.create_future()
        self._alarmed = alarmed
        self._alarm: str | None = None
        self._bounds = Bounds()
        self._late = LateConfirms(PUBLISH_SECONDS, self._end)
        wire.closing.add_done_callback(self._on_closing)

    @classmethod
    async def open(
        cls,
        connection: AbstractConnection,
        *,
        in_flight: int = IN_FLIGHT,
        alarmed: Callable[[str | None], None] | None = None,
    ) -> Publisher:
        """Open a channel for publishing.

        Args:
            connection: One on which nothing is consumed: a broker that holds publishers back
                stops reading from the whole connection, acks included.
            in_flight: Most messages that may be unconfirmed at once; more wait their turn.
            alarmed: Called with the reason when an alarm of the broker's holds publishing up, and
                with None when that is over; then an alarm is waited through, however long.

        Raises:
            BrokerLost: The connection is gone.
        """
        channel = connection.channel(publisher_confirms=True, on_return_raises=True)
        await bounded(channel.initialize(), PUBLISH_SECONDS)
        wire = ConfirmChannel(await channel.get_underlay_channel())
        publisher = cls(channel, wire, in_flight, alarmed)
        watch_alarm(wire.connection, publisher._on_alarm)
        return publisher

    @property
    def closing(self) -> asyncio.Future[None]:
        """Done once nothing can be published any more; not to be cancelled."""
        return self._closing

    @property
    def loss(self) -> BrokerLost | None:
        """Why nothing can be published any more, or None while it can."""
        return self._loss

    @property
    def is_closed(self) -> bool:
        """Nothing can be published any more: open another publisher, best on a new connection."""
        return self._loss is not None or self._wire.is_closed

    async def close(self) -> None:
        """Close the channel, within a bound.

        Raises:
            BrokerLost: It did not close in order.
        """
        if not self._wire.is_closed:
            await bounded(self._channel.close(), PUBLISH_SECONDS)

    async def publish(self, message: Outgoing, seconds: float = PUBLISH_SECONDS) -> None:
        """Publish one message and wait for its confirmation.

        Raises:
            Unroutable: It is mandatory and no queue takes it.
            Refused: The broker did not take it.
            Unsendable: AMQP can't carry it.
            BrokerLost: Its result is unknown. Its kind `ChannelRefused` says what is missing.
        """
        (fault,) = await self.publish_all((message,), seconds)
        if fault is not None:
            raise fault

    async def publish_all(
        self, messages: Sequence[Outgoing], seconds: float = PUBLISH_SECONDS
    ) -> list[PublishFailure | None]:
        """Publish many messages and wait for all their confirmations.

        Args:
            messages: In the order in which they are to be sent.
            seconds: For all of them together; silence beyond it ends this publisher. The time of
                an alarm that is waited through does not count.

        Returns:
            Of each message None if it is confirmed, or else what `publish` would have raised.
        """
        return cast("list[PublishFailure | None]", await self._publish(messages, seconds))

    async def send(self, messages: Sequence[Outgoing]) -> list[PublishResult]:
        """Publish many messages, and wait only a moment for their confirmations.

        What is not confirmed by then counts as in flight no more, and its result is a future:
        `Unanswered` of a queue that stays silent while others answer. Silence of them all ends this
        publisher. The time of an alarm that is waited through does not count.

        Args:
            messages: In the order in which they are to be sent.
        """
        return await self._publish(messages, PUBLISH_SECONDS, prompt=True)

    async def _publish(
        self, messages: Sequence[Outgoing], seconds: float, *, prompt: bool = False
    ) -> list[PublishResult]:
        silence = BrokerLost(f"no confirmation from the broker within {seconds:g} s")
        results: list[PublishResult] = [silence] * len(messages)
        size = min(MOST_AT_ONCE, self._most_in_flight)
        try:
            async with self._bounds.of(seconds):
                start = 0
                for batch in batches(messages, size):
                    chunk = self._encode(batch, start, results)
                    start += len(batch)
                    await self._exchange(chunk, results, prompt=prompt)
        except TimeoutError:
            if self._alarm is not None:
                silence = BrokerLost(self._alarm)
                results = [silence if isinstance(one, BrokerLost) else one for one in results]
            self._end(silence)
        return results

    def _on_alarm(self, reason: str | None) -> None:
        if self._loss is not None:
            return
        self._alarm = reason
        if self._alarmed is not None:
            self._bounds.hold(held=reason is not None)
            self._late.hold(held=reason is not None)
            self._alarmed(reason)

    def _encode(
        self, chunk: Sequence[Outgoing], start: int, results: list[PublishResult]
    ) -> list[Encoded]:
        encoded = []
        number, size = self._wire.number, self._wire.max_content_size
        for place, message in enumerate(chunk, start):
            try:
                encoded.append(Encoded(place, message, frames(message, number, size)))
            except Unsendable as fault:
                results[place] = fault
        return encoded

    async def _exchange(
        self, waiting: list[Encoded], results: list[PublishResult], *, prompt: bool
    ) -> None:
        """Send, and hear what becomes of it; those of one id go one after the other."""
        while waiting:
            async with self._turn:
                now, waiting = self._returnable.split(waiting)
                sent = await self._send(now)
            await self._settle(sent, results, prompt=prompt)
            twin = self._returnable.twin(waiting[0]) if waiting else None
            if twin is not None and not await self._done([twin], prompt=prompt):
                for one in waiting:
                    results[one.place] = NotConfirmed("another of its id is not confirmed yet")
                return

    async def _send(self, batch: list[Encoded]) -> list[Sent]:
        written = bool(batch) and await self._write(batch)
        # From here to the caller's wait nothing may suspend: the numbers are counted by order.
        return [self._register(one, written=written) for one in batch]

    async def _write(self, batch: list[Encoded]) -> bool:
        if not await self._window.room([one.message for one in batch], lambda: self.is_closed):
            return False
        payload = b"".join([one.frames for one in batch])
        await self._wire.write(payload)
        return not self._wire.is_closed

    def _register(self, one: Encoded, *, written: bool) -> Sent:
        confirmation = self._loop.create_future()
        self._window.enter(one.message)
        if not written:
            confirmation.set_exception(self._loss or loss(None))
            return Sent(one.place, one.message, 0, confirmation)
        sent = Sent(one.place, one.message, self._wire.count(confirmation), confirmation)
        self._returnable.add(sent)
        return sent

    async def _settle(
        self, sent: list[Sent], results: list[PublishResult], *, prompt: bool
    ) -> None:
        sent_at = self._loop.time()
        late: list[LateConfirm] = []
        try:
            await self._done([one.confirmation for one in sent], prompt=prompt)
        finally:
            for one in sent:
                if one.confirmation.done():
                    results[one.place] = result_of(one.message, one.confirmation)
                    self._release(one)
                elif prompt:
                    self._window.leave(one.message)
                    forget = partial(self._returnable.forget, one)
                    late.append(LateConfirm(one.message, one.confirmation, forget))
                    results[one.place] = late[-1].result
                else:
                    # Nobody waits for it any more, but it is in flight until the broker speaks.
                    one.confirmation.add_done_callback(partial(self._release_late, one))
        if len(late) < len(sent):
            self._late.heard(sent_at)
        if late:
            self._late.add(late, sent_at)

    async def _done(self, confirmations: list[asyncio.Future[Any]], *, prompt: bool) -> bool:
        """Wait for confirmations, if `prompt` only for a moment; whether all have come."""
        if not prompt:
            for one in confirmations:
                await settled(one)
            return True
        with suppress(TimeoutError):
            async with self._bounds.of(PROMPT_SECONDS):
                return await self._done(confirmations, prompt=False)
        return False

    def _release(self, one: Sent) -> None:
        self._window.leave(one.message)
        self._returnable.forget(one)

    def _release_late(self, one: Sent, confirmation: asyncio.Future[Any]) -> None:
        confirmation.exception()  # marks it as seen
        self._release(one)

    def _end(self, why: BrokerLost) -> None:
        self._loss = self._loss or why
        self._window.wake()
        if not self._closing.done():
            self._closing.set_result(None)

    def _on_closing(self, closing: asyncio.Future[Any]) -> None:
        reason = None if closing.cancelled() else closing.exception()
        self._end(loss(reason))
        for confirmation in self._wire.unconfirmed():
            confirmation.set_exception(loss(reason))
