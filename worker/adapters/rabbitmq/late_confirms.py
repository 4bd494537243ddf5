"""Confirmations that come late: one sick queue must not hold up what goes to the others.

The broker confirms a message once each queue has it, so a queue that hangs (a quorum queue without
a majority, say) is silent, while messages to other queues are confirmed all the same. From outside
a silent queue and a silent connection differ by that alone.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.rabbitmq.publish_results import result_of
from worker.core.exceptions import BrokerLost, Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.core.token.outgoing import Outgoing
    from worker.ports import PublishFailure

SICK_SECONDS: Final = 3.0
"""So long a queue may be silent while others are not."""

_LATER_SECONDS: Final = 1.0  # what was sent so much later and is confirmed shows a living channel
_LOOK_SECONDS: Final = 0.5
_MOST_GIVEN_UP: Final = 10_000  # the channel remembers each: a new one begins without


class LateConfirm:
    """One message whose confirmation is late.

    Attributes:
        result: What becomes of it.
    """

    def __init__(
        self,
        message: Outgoing,
        confirmation: asyncio.Future[Any],
        released: Callable[[], None],
    ) -> None:
        self._message = message
        self._confirmation = confirmation
        self._released = released
        self.result: asyncio.Future[PublishFailure | None] = confirmation.get_loop().create_future()
        confirmation.add_done_callback(self._confirmed)

    def _confirmed(self, confirmation: asyncio.Future[Any]) -> None:
        self.end(result_of(self._message, confirmation))

    def end(self, fault: PublishFailure | None) -> None:
        """Wait no more: this became of it."""
        self._released()
        self._confirmation.remove_done_callback(self._confirmed)
        self._confirmation.add_done_callback(_seen)
        self.result.set_result(fault)


def _seen(confirmation: asyncio.Future[Any]) -> None:
    confirmation.exception()


class LateConfirms:
    """Looks after late confirmations of one channel.

    Args:
        seconds: So long the whole channel may be silent; then `silent` is called.
        silent: Called with the fault.
    """

    def __init__(self, seconds: float, silent: Callable[[BrokerLost], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._silent = silent
        self._heard = float("-inf")
        self._resumed = float("-inf")
        self._held = False
        self._given_up = 0

    def heard(self, sent_at: float) -> None:
        """The broker has answered something that was sent then."""
        self._heard = max(self._heard, sent_at)

    def hold(self, *, held: bool) -> None:
        """The broker holds publishers back, or does so no more: such a silence does not count."""
        self._held = held
        self._resumed = self._loop.time()

    def add(self, some: Sequence[LateConfirm], sent_at: float) -> None:
        """Look after these, which were sent then."""
        for one in some:
            one.result.add_done_callback(partial(self._answered, sent_at))
        self._loop.call_later(_LOOK_SECONDS, self._look, some, sent_at)

    def _answered(self, sent_at: float, result: asyncio.Future[PublishFailure | None]) -> None:
        if result.result() is None:
            self.heard(sent_at)

    def _look(self, some: Sequence[LateConfirm], sent_at: float) -> None:
        left = [one for one in some if not one.result.done()]
        if not left:
            return
        silence = 0.0 if self._held else self._loop.time() - max(sent_at, self._resumed)
        if silence >= SICK_SECONDS and self._heard >= sent_at + _LATER_SECONDS:
            for one in left:
                one.end(Unanswered("its queue neither takes nor refuses it, while others answer"))
            self._given_up += len(left)
            if self._given_up > _MOST_GIVEN_UP:
                self._silent(BrokerLost("too many messages were never confirmed"))
        elif silence >= self._seconds:
            self._silent(BrokerLost(f"no confirmation from the broker within {silence:.0f} s"))
        else:
            self._loop.call_later(_LOOK_SECONDS, self._look, left, sent_at)
