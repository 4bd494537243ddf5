"""Replaying dead letters: what is published for one, how fast, and when to stop."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from worker.core.records import DEFAULT_SELLER, LetterReason, Malformed, TokenKey
from worker.core.token import outgoing
from worker.core.token.incoming import read_envelope
from worker.core.token.submissions import parse
from worker.core.token.verdict import AWS_LIFETIME

if TYPE_CHECKING:
    from datetime import datetime

    from worker.core.records import Lane
    from worker.core.token.outgoing import Outgoing

MOST_IN_A_BATCH: Final = 500
MOST_CANARIES: Final = 20
LEAST_OUTCOMES: Final = 10
"""Outcomes below which no share of failures says anything."""
HEARTBEAT: Final = timedelta(seconds=2)
STALE: Final = timedelta(seconds=10)
"""A replay whose last heartbeat is older than this is taken to be gone, and its claims free."""
# Small ones: a burst makes workers linger for fuller batches, at the cost of live tokens.
_BATCHES_A_SECOND: Final = 10


class Fate(StrEnum):
    """What a replay would do with a letter that was chosen."""

    READY = "ready"
    EXPIRED = "expired"
    SHREDDED = "shredded"
    MALFORMED = "malformed"
    LOCKED = "locked"
    CLAIMED = "claimed"
    UNDER_WAY = "under_way"
    CLOSED = "closed"


_CLICK_AGAIN: Final = "the buyer must click through again from AWS Marketplace"

REMEDIES: Final[dict[Fate, str]] = {
    Fate.EXPIRED: f"past saving, the token is too old: {_CLICK_AGAIN}",
    Fate.SHREDDED: f"past saving, the payload is shredded: {_CLICK_AGAIN}",
    Fate.MALFORMED: "malformed, and would be again: mend the publisher and let it publish anew",
    Fate.LOCKED: "sealed to a key that is not here: add its private key to "
    "WORKER_DEAD_LETTERS__OPEN_KEYS",
    Fate.CLAIMED: "in the hands of another replay that is running",
    Fate.UNDER_WAY: "replayed already, the outcome is awaited",
    Fate.CLOSED: "closed: resolved, discarded or archived",
}
"""Why letters are left out, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A letter that this replay has claimed, and nobody else may publish.

    Attributes:
        id: Its number.
        redeemable_until: When the token's lifetime ends.
        instant: When it was first claimed in this round, in whole milliseconds. It stays the same
            when the claim is taken over, so that all copies published for it are one replay.
        sealed: Its envelope, sealed.
        body_sha256: Of the body that must be in it.
    """

    id: int
    seller: str
    reason: str
    message_id: str
    received_at: datetime
    redeemable_until: datetime
    instant: datetime
    sealed: bytes = field(repr=False)
    body_sha256: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """A letter and the message that goes out for it.

    Attributes:
        key: The token it is about.
        told: Whether the letter knew so much; a parked one, which nobody has looked into, did not.
    """

    letter: Claimed
    key: TokenKey
    message: Outgoing
    told: bool


def prepare(letter: Claimed, envelope: bytes, lane: Lane, now: datetime) -> Prepared | str:
    """Make of a letter the message that it once was: its properties, its age, no attempts spent.

    Args:
        letter: The letter, claimed.
        envelope: What was sealed of it; see `envelope`.
        lane: Where to.
        now: The current time (UTC).

    Returns:
        What to publish, or the reason why it can't be.
    """
    incoming = read_envelope(envelope)
    if incoming is None:
        return "not all of the message was kept"
    if hashlib.sha256(incoming.body).digest() != letter.body_sha256:
        return "what is sealed is another message than the letter is about: it was exchanged"
    submission, _ = parse(incoming, now, frozenset({DEFAULT_SELLER, letter.seller}))
    if isinstance(submission, Malformed):
        return f"{submission.code}: {submission.reason}"
    told = letter.reason != LetterReason.PARKED
    # By the database's clock: this machine's, which gives `now`, may be off.
    first_seen = letter.redeemable_until - AWS_LIFETIME
    submission = replace(
        submission,
        message_id=letter.message_id if told else submission.message_id,
        received_at=min(submission.received_at, letter.received_at),
        first_seen=first_seen,
        replay=letter.instant,
    )
    message = outgoing.give_back(submission, incoming, lane, attempts=0)
    return Prepared(letter, submission.key, message, told)


@dataclass(slots=True)
class Pace:
    """How much to publish at once, and when the next may go. The clock is an argument.

    Attributes:
        rate: Letters a second, or None for as fast as can be.
        due: When the next batch may go, in seconds on the caller's clock.
    """

    rate: float | None = None
    due: float = 0.0

    def size(self, most: int | None = None) -> int:
        """How many may go at once, and no more than `most`."""
        size = MOST_IN_A_BATCH
        if self.rate is not None:
            size = min(size, max(1, math.ceil(self.rate / _BATCHES_A_SECOND)))
        return size if most is None else min(size, most)

    def wait(self, now: float) -> float:
        """Seconds until the next batch may go."""
        return max(0.0, self.due - now)

    def went(self, count: int, now: float) -> None:
        """So many have gone; time lost before is not made up for."""
        if self.rate is not None:
            self.due = max(self.due, now) + count / self.rate


@dataclass(frozen=True, slots=True)
class Tally:
    """What has become of the letters that were replayed, as far as it is known."""

    resolved: int = 0
    failed: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.resolved + other.resolved, self.failed + other.failed)

    @property
    def known(self) -> int:
        """How many have an outcome."""
        return self.resolved + self.failed

    def exceeds(self, percent: float | None) -> bool:
        """Whether more than this share has failed again, of enough to say so."""
        if percent is None or self.known < LEAST_OUTCOMES:
            return False
        return self.failed * 100 > percent * self.known
