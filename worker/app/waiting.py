"""What waits, for whoever asks for a token that is not settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.adapters.rabbitmq.topology import LANE_QUEUES
from worker.app import status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for its outcome; None for what could not be obtained.

    Attributes:
        lanes: Messages that wait in the lanes' queues.
        retries: Messages that wait for another call, or that the broker parked.
        oldest_seconds: Age of the oldest message that any replica has in hand; 0 if none has one.
        held: Why no token is called for, if none is.
        absent: Why a part could not be queried, by part.
    """

    lanes: int | None
    retries: int | None
    oldest_seconds: float | None
    held: str | None
    absent: Mapping[str, str] = field(default_factory=dict)


async def waiting(settings: Settings) -> Waiting:
    """Query broker and database."""
    found = await status.gather(settings)
    lanes, oldest = set(LANE_QUEUES.values()), found.oldest_seconds
    return Waiting(
        lanes=_ready(found, lambda queue: queue in lanes),
        retries=_ready(found, lambda queue: queue not in lanes),
        oldest_seconds=None if oldest is None else max(oldest.values(), default=0.0),
        held=_held(found),
        absent=found.absent,
    )


def _ready(found: status.Status, counts: Callable[[str], bool]) -> int | None:
    ready = [each.ready for each in found.queues or () if counts(each.queue)]
    known = [each for each in ready if each is not None]
    return sum(known) if known and len(known) == len(ready) else None


def _held(found: status.Status) -> str | None:
    if found.pause is not None:
        return f"calls are {found.pause}"
    if found.shares is not None and not found.shares:
        return "no replica is live"
    stopped = found.breaker.stopped if found.breaker else ()
    return next((f"calls are stopped: {each.code}: {each.message}" for each in stopped), None)
