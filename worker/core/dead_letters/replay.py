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
"""With fewer outcomes the share of failures means nothing."""
HEARTBEAT: Final = timedelta(seconds=2)
STALE: Final = timedelta(seconds=10)
"""A replay whose last heartbeat is older than this counts as dead, and its claims as free."""
# Small batches: after a burst workers wait for fuller batches, which delays live tokens.
_BATCHES_A_SECOND: Final = 10


class Eligibility(StrEnum):
    """Whether a replay would publish a dead letter that was chosen, or why not."""

    READY = "ready"
    EXPIRED = "expired"
    SHREDDED = "shredded"
    MALFORMED = "malformed"
    LOCKED = "locked"
    CLAIMED = "claimed"
    UNDER_WAY = "under_way"
    CLOSED = "closed"


_CLICK_AGAIN: Final = "the buyer must click through again from AWS Marketplace"

REMEDIES: Final[dict[Eligibility, str]] = {
    Eligibility.EXPIRED: f"too late to save, the token is too old: {_CLICK_AGAIN}",
    Eligibility.SHREDDED: f"too late to save, the payload is shredded: {_CLICK_AGAIN}",
    Eligibility.MALFORMED: "malformed, and would be again: correct the publisher and let it "
    "publish again",
    Eligibility.LOCKED: "sealed to a key that is not here: add its private key to "
    "WORKER_DEAD_LETTERS__OPEN_KEYS",
    Eligibility.CLAIMED: "claimed by another replay that is running",
    Eligibility.UNDER_WAY: "replayed already, without an outcome so far",
    Eligibility.CLOSED: "closed: resolved, discarded or archived",
}
"""Why dead letters are left out, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A dead letter that this replay has claimed; no other replay may publish it.

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
    """A dead letter and the message that is published for it.

    Attributes:
        key: The token it is about.
        is_identified: Whether the dead letter names the token; that of a parked message, which
            was never read, does not.
    """

    letter: Claimed
    key: TokenKey
    message: Outgoing
    is_identified: bool


def prepare(letter: Claimed, envelope: bytes, lane: Lane, now: datetime) -> Prepared | str:
    """Make the message of a dead letter again: its properties, its age, and no attempts.

    Args:
        letter: The dead letter, claimed.
        envelope: What was sealed of it; see `envelope`.
        lane: The lane to publish it into.
        now: The current time (UTC).

    Returns:
        What to publish, or the reason why it can't be.
    """
    incoming = read_envelope(envelope)
    if incoming is None:
        return "not all of the message was kept"
    if hashlib.sha256(incoming.body).digest() != letter.body_sha256:
        return "the payload is that of another message: it was exchanged"
    submission, _ = parse(incoming, now, frozenset({DEFAULT_SELLER, letter.seller}))
    if isinstance(submission, Malformed):
        return f"{submission.code}: {submission.reason}"
    is_identified = letter.reason != LetterReason.PARKED
    # By the database's clock: this machine's, which gives `now`, may be off.
    first_seen = letter.redeemable_until - AWS_LIFETIME
    submission = replace(
        submission,
        message_id=letter.message_id if is_identified else submission.message_id,
        received_at=min(submission.received_at, letter.received_at),
        first_seen=first_seen,
        replay=letter.instant,
    )
    message = outgoing.give_back(submission, incoming, lane, attempts=0)
    return Prepared(letter, submission.key, message, is_identified)


@dataclass(slots=True)
class Pace:
    """How much to publish at once, and when the next may go. The clock is an argument.

    Attributes:
        rate: Dead letters a second, or None for as fast as possible.
        due: When the next batch may go, in seconds on the caller's clock.
    """

    rate: float | None = None
    due: float = 0.0

    def size(self, most: int | None = None) -> int:
        """Return how many may be published at once, at most `most`."""
        size = MOST_IN_A_BATCH
        if self.rate is not None:
            size = min(size, max(1, math.ceil(self.rate / _BATCHES_A_SECOND)))
        return size if most is None else min(size, most)

    def wait(self, now: float) -> float:
        """Return the seconds until the next batch may be published."""
        return max(0.0, self.due - now)

    def published(self, count: int, now: float) -> None:
        """Note that so many were published; time lost before is not made up for."""
        if self.rate is not None:
            self.due = max(self.due, now) + count / self.rate


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """How many dead letters resolved after a replay and how many failed again, so far."""

    resolved: int = 0
    failed: int = 0

    def __add__(self, other: OutcomeCounts) -> OutcomeCounts:
        """Return the sum of both."""
        return OutcomeCounts(self.resolved + other.resolved, self.failed + other.failed)

    @property
    def known(self) -> int:
        """How many have an outcome."""
        return self.resolved + self.failed

    def exceeds(self, percent: float | None) -> bool:
        """Whether more than this share failed again, among enough outcomes to judge."""
        if percent is None or self.known < LEAST_OUTCOMES:
            return False
        return self.failed * 100 > percent * self.known
