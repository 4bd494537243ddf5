"""The worker's own headers, which stay with a message through retry queues and lanes.

They count only on deliveries through `resolution.internal`, which publishers can't write: else
anybody could age a token or use up its attempts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.core import timestamps
from worker.core.records import Lane

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.records import Submission
    from worker.core.token.incoming import Incoming

ATTEMPTS_HEADER: Final = "x-resolution-attempts"
RETURNS_HEADER: Final = "x-resolution-returns"
RECEIVED_HEADER: Final = "x-resolution-received-at"
FIRST_SEEN_HEADER: Final = "x-resolution-first-seen"
ENTRY_LANE_HEADER: Final = "x-resolution-entry-lane"
CALLER_HEADER: Final = "x-resolution-caller"
REPLAY_HEADER: Final = "x-resolution-replay"
REFUSAL_HEADER: Final = "x-resolution-refusal"
OUR_HEADERS: Final = (
    ATTEMPTS_HEADER,
    RETURNS_HEADER,
    RECEIVED_HEADER,
    FIRST_SEEN_HEADER,
    ENTRY_LANE_HEADER,
    CALLER_HEADER,
    REPLAY_HEADER,
    REFUSAL_HEADER,
)
ALWAYS_CALLS: Final = timestamps.LATEST
"""The time of a replay that no outcome in the ledger answers."""
_LANES: Final[dict[str, Lane]] = {lane.label: lane for lane in Lane}
_MOST_CALLER_CHARS: Final = 255
_MOST_REFUSAL_CHARS: Final = 500


def headers(submission: Submission, *, attempts: int, returns: int) -> dict[str, int | str]:
    """Our headers for a message that goes back into a lane or a retry queue."""
    carried: dict[str, int | str] = {
        ATTEMPTS_HEADER: attempts,
        RETURNS_HEADER: returns,
        RECEIVED_HEADER: timestamps.to_millis(submission.received_at),
        FIRST_SEEN_HEADER: timestamps.to_millis(submission.first_seen),
    }
    if submission.entry_lane is not None:
        carried[ENTRY_LANE_HEADER] = submission.entry_lane.label
    if submission.origin.caller:
        carried[CALLER_HEADER] = submission.origin.caller
    if submission.replay is not None:
        carried[REPLAY_HEADER] = timestamps.to_millis(submission.replay)
    return carried


def count(incoming: Incoming, name: str) -> int:
    """A number that a worker has written; 0 without."""
    value = incoming.headers.get(name) if incoming.internal else None
    return value if isinstance(value, int) and value > 0 else 0


def received_at(incoming: Incoming) -> datetime | None:
    """When the buyer's browser delivered the token, as a worker has read it before."""
    return timestamps.from_millis(count(incoming, RECEIVED_HEADER))


def first_seen(incoming: Incoming, now: datetime) -> datetime:
    """When a worker first read this message: no time that a publisher wrote counts."""
    return min(timestamps.from_millis(count(incoming, FIRST_SEEN_HEADER)) or now, now)


def entry_lane(incoming: Incoming) -> Lane | None:
    """The lane in which its buyer came in, if a worker has moved it into another since."""
    label = incoming.headers.get(ENTRY_LANE_HEADER) if incoming.internal else None
    return _LANES.get(label) if isinstance(label, str) else None


def replay(incoming: Incoming) -> datetime | None:
    """When the replay was asked for that this is, or None.

    A header that does not say, as it once did not, is a replay that always calls.
    """
    if not incoming.internal or REPLAY_HEADER not in incoming.headers:
        return None
    millis = count(incoming, REPLAY_HEADER)
    return (timestamps.from_millis(millis) if millis > 1 else None) or ALWAYS_CALLS


def caller(incoming: Incoming) -> str:
    """Whose message it is: the publisher's user, which the worker's own moves carry on."""
    user = incoming.headers.get(CALLER_HEADER) if incoming.internal else incoming.user_id
    return user if isinstance(user, str) and len(user) <= _MOST_CALLER_CHARS else ""


def refusal(incoming: Incoming) -> str | None:
    """Why a worker parked this message: with which words the database refused its row.

    Nothing in a message that the broker itself parked: there a publisher may have written it.
    """
    ours = incoming.internal and incoming.death is None
    words = incoming.headers.get(REFUSAL_HEADER) if ours else None
    fits = isinstance(words, str) and words.isprintable() and len(words) <= _MOST_REFUSAL_CHARS
    return words if fits and words else None
