"""Whether publishing works, as far as publishing itself has shown. The clock is an argument."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

from worker.adapters.rabbitmq.framing import Unsendable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.outgoing import Outgoing
    from worker.ports import NotConfirmed

Place: TypeAlias = tuple[str, str]

DOUBT_SECONDS: Final = 8.0
"""Longer than the outbox ever waits between two tries: after it nothing is left to publish."""


class Standing:
    """Remembers what was not confirmed, by where it was to go, until something is, there.

    What is not tried again, because it is somebody else's by now, is forgotten after a while.
    """

    def __init__(self) -> None:
        self._failed: dict[Place, tuple[str, float]] = {}
        self._under_way: Counter[Place] = Counter()

    def begun(self, batch: Sequence[Outgoing]) -> None:
        """These are being published."""
        self._under_way.update(map(_place, batch))

    def ended(
        self, batch: Sequence[Outgoing], faults: Sequence[NotConfirmed | None], now: float
    ) -> None:
        """This became of them; with no faults given, nobody knows."""
        self._under_way.subtract(map(_place, batch))
        self._under_way = +self._under_way
        failed: dict[Place, str] = {}
        for message, fault in zip(batch, faults, strict=False):
            place = _place(message)
            if fault is None:
                self._failed.pop(place, None)
            elif not isinstance(fault, Unsendable):  # that is the message's own
                failed[place] = str(fault)
        for place, why in failed.items():
            self._failed.pop(place, None)  # the last to have failed is the last in order
            self._failed[place] = (why, now)

    def doubt(self, now: float) -> str | None:
        """Why publishing is taken not to work, as it was last met; or None."""
        stale = [
            place
            for place, (_, at) in self._failed.items()
            if now - at >= DOUBT_SECONDS and place not in self._under_way
        ]
        for place in stale:
            del self._failed[place]
        return next((why for why, _ in reversed(self._failed.values())), None)


def _place(message: Outgoing) -> Place:
    return message.exchange, message.routing_key
