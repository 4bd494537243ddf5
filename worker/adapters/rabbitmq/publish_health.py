"""Whether publishing works, as far as publishing itself has shown. The clock is an argument."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

from worker.core.exceptions import Refused, Unroutable, Unsendable
from worker.core.token.outgoing import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.token.outgoing import Outgoing
    from worker.ports import PublishFailure

Route: TypeAlias = tuple[str, str]

DOUBT_SECONDS: Final = 8.0
"""Longer than a move ever waits between two tries: after it nothing is left to publish."""


class PublishHealth:
    """Remembers moves that were not confirmed, by exchange and routing key, until one is there.

    An answer that is refused or finds no queue is the matter of whoever wanted it, and does not
    count here. What is
    not tried again, because it is somebody else's by now, is forgotten after a while.
    """

    def __init__(self) -> None:
        self._failed: dict[Route, tuple[str, float]] = {}
        self._under_way: Counter[Route] = Counter()

    def begun(self, batch: Sequence[Outgoing]) -> None:
        """These are being published."""
        for message in batch:
            if message.kind is Kind.MOVE:
                self._under_way[_place(message)] += 1

    def left(self, batch: Sequence[Outgoing]) -> None:
        """Nobody will hear what became of these."""
        for message in batch:
            if message.kind is Kind.MOVE:
                place = _place(message)
                self._under_way[place] -= 1
                if not self._under_way[place]:
                    del self._under_way[place]

    def ended(self, message: Outgoing, fault: PublishFailure | None, now: float) -> None:
        """This became of one of them."""
        move = message.kind is Kind.MOVE
        if move:
            self.left((message,))
        if fault is None:
            if self._failed:
                self._failed.pop(_place(message), None)
        elif not isinstance(fault, Unsendable) and (
            move or not isinstance(fault, Refused | Unroutable)
        ):
            place = _place(message)
            self._failed.pop(place, None)  # the last to have failed is the last in order
            self._failed[place] = (str(fault), now)

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


def _place(message: Outgoing) -> Route:
    return message.exchange, message.routing_key
