"""How many messages a replica may hold, and for how long.

RabbitMQ hands out messages ahead of their acks, as many as a consumer's prefetch; until they are
acked no other replica can have them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from worker.core.records import Lane
from worker.core.token.lanes import SHARES

if TYPE_CHECKING:
    from collections.abc import Mapping

HOLD_SECONDS: Final = 240.0
"""For so long a message may be in hand: RabbitMQ's ack timeout is 30 minutes at the least."""

GIVE_BACK_SECONDS: Final = 225.0
"""From then on it is put back into its lane, for which there is some time left."""

MOST_IN_HAND_BYTES: Final = 96 * 1024 * 1024
"""Of all unacked messages of one process, whoever wrote them."""

LARGEST_MESSAGE_BYTES: Final = 128 * 1024
"""Of one message's body; more the broker refuses, as it is shipped (`max_message_size`)."""

MOST_IN_HAND: Final = MOST_IN_HAND_BYTES // LARGEST_MESSAGE_BYTES
"""Messages. RabbitMQ knows no prefetch in bytes, so the bound has to be one of their number."""

PARKED_PREFETCH: Final = 20
"""Messages that the broker has given up, which are written away as they come."""

MOST_PREFETCHED: Final[Mapping[Lane, int]] = {
    Lane.LIVE: MOST_IN_HAND // 2,
    Lane.BACKLOG: MOST_IN_HAND // 3,
    Lane.CROWD: MOST_IN_HAND - MOST_IN_HAND // 2 - MOST_IN_HAND // 3 - PARKED_PREFETCH,
}
"""What each lane has of them at most: the live one as much as all others together."""

_BEING_WRITTEN: Final = 200
_HELD_SECONDS: Final = 30.0
_LEAST: Final = 4
_PATIENT_SECONDS: Final = 120.0
_SEEN_RATIO: Final = 2.5  # of what is called for while a patience lasts, for a rush of twice that


def prefetches(concurrency: int, share: float | None, patience_seconds: float) -> dict[Lane, int]:
    """How many messages of each lane one process may have unacked.

    All of them together are never more than `MOST_IN_HAND`, whatever is configured.

    Args:
        concurrency: Calls that the process may have in flight.
        share: Calls a second that it may make; None for no limit.
        patience_seconds: How long a buyer is taken to wait.
    """
    crowds = None if share is None else share * SHARES[Lane.CROWD] / SHARES[Lane.BACKLOG]
    wanted = {
        Lane.LIVE: live_prefetch(concurrency, share, patience_seconds),
        Lane.BACKLOG: prefetch(concurrency, share),
        Lane.CROWD: prefetch(concurrency, crowds),
    }
    return {lane: min(MOST_PREFETCHED[lane], messages) for lane, messages in wanted.items()}


def prefetch(concurrency: int, share: float | None) -> int:
    """How many messages of a lane one process has use for.

    Enough to keep all calls busy while earlier answers are being written; and no more than can be
    called for within half a minute, or within two and a half where only a fifth of the share is
    left for the lane. What waits in the queue can be taken by any replica, in its order, and never
    has to be given back for having been held too long.
    """
    most = 2 * concurrency + _BEING_WRITTEN
    if share is None or share * _HELD_SECONDS >= most:
        return most
    return max(_LEAST, math.ceil(share * _HELD_SECONDS))


def live_prefetch(concurrency: int, share: float | None, patience_seconds: float) -> int:
    """The same of the live lane, from which tokens are demoted.

    Enough for a rush of twice the share to wait here, and not in the queue, until the patience is
    over: a message need not say when its buyer came, and then its wait in the queue is not seen.
    They leave again, demoted, when the patience ends. Only where the patience is longer than
    anything may be held, the lane has the prefetch of any other.
    """
    if share is None or patience_seconds > _PATIENT_SECONDS:
        return prefetch(concurrency, share)
    seen = math.ceil(min(MOST_IN_HAND, _SEEN_RATIO * share * patience_seconds))
    return max(prefetch(concurrency, None), seen)


def is_worth_changing(current: int, wanted: int) -> bool:
    """Whether the prefetch is to be changed: only where the two differ by more than half."""
    return max(current, wanted) > 2 * min(current, wanted)


def prefetch_beside(wanted: int, most: int, in_hand: int) -> int:
    """The prefetch of a new consumer, beside messages that an earlier one has left in hand.

    Those stay in hand and do not count towards the new prefetch. So that both together are never
    more than a lane may have, it is smaller; but nothing at all until there is room for at least
    half, for the next change may not follow soon.

    Args:
        wanted: How many messages are wanted.
        most: How many may be in hand.
        in_hand: How many are.
    """
    room = min(wanted, most - in_hand)
    return room if 2 * room >= min(wanted, most) else 0
