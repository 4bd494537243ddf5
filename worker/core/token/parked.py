"""What becomes of a message that the broker itself has taken out of a lane.

One that came back too often may end processes: it becomes a dead letter, and nobody reads it. One
that only expired, or for which its queue had no room, is as good as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.core.records import Lane
    from worker.core.token.incoming import Incoming

EXPIRED: Final = "expired"
OVERFLOW: Final = "maxlen"


def lane_of(incoming: Incoming) -> Lane | None:
    """The lane whose submission it still is; None for what becomes a dead letter unread."""
    death = incoming.death
    return death.lane if death is not None and death.reason in {EXPIRED, OVERFLOW} else None


def goes_back(incoming: Incoming) -> bool:
    """Whether it goes back into its lane before it is handled.

    So nothing waits here for long, where a policy may drop it. One for which its lane had no room
    is handled at once: back in the lane it would push out another.
    """
    return incoming.death is not None and incoming.death.reason == EXPIRED
