"""Dead letters as on-call reads them: groups, pages, one with its history."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from worker.core.dead_letters import grouping
from worker.core.support_code import support_code

FINGERPRINT_BYTES: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_IDS: Final = 2**63
_CURSOR: Final = re.compile(r"([0-9]{1,20})-([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Failures with one cause.

    Attributes:
        error_message: Of the newest of them.
        redeemable: How many are open and have a token that could still be redeemed.
        first_expiry: When the first of those no longer can.
        not_kept: How many more there were that were counted, but not kept.
    """

    key: str
    reason: str
    error_code: str
    error_message: str
    letters: int
    first_failed_at: datetime
    last_failed_at: datetime
    redeemable: int
    first_expiry: datetime | None
    not_kept: int

    @property
    def others_resolved(self) -> bool:
        """Whether AWS resolved other tokens of the account within five minutes before."""
        return self.key == _beside(self.reason, self.error_code, self.error_message)

    @property
    def message(self) -> str:
        """The message they have in common, with placeholders for what varies."""
        return grouping.normalised(self.error_message)


@dataclass(frozen=True, slots=True)
class Groups:
    """The first groups of a selection, and how much there is in all."""

    shown: tuple[LetterGroup, ...]
    groups: int
    letters: int
    redeemable: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter, without what is sealed in it and what else its publisher wrote.

    Attributes:
        occurrences: How often it failed for good.
        replays: How often it was published again.
    """

    id: int
    state: str
    seller: str
    reason: str
    error_code: str
    error_message: str
    group_key: str | None
    message_id: str
    token_sha256: bytes | None
    attempts: int
    occurrences: int
    replays: int
    received_at: datetime
    first_failed_at: datetime
    failed_at: datetime
    redeemable_until: datetime | None

    @property
    def group(self) -> str:
        """See `grouping.key`."""
        return self.group_key or grouping.key(self.reason, self.error_code, self.error_message)

    @property
    def others_resolved(self) -> bool:
        """Whether AWS resolved other tokens of the account within five minutes before."""
        return self.group_key == _beside(self.reason, self.error_code, self.error_message)

    @property
    def fingerprint(self) -> str | None:
        """The first 16 hexadecimal digits of the token's SHA-256; None where it was not read."""
        sha256 = self.token_sha256
        return None if sha256 is None else sha256[:FINGERPRINT_BYTES].hex()

    @property
    def support_code(self) -> str | None:
        """What the buyer may read out, and `lookup` takes; None where no token was read."""
        return None if self.token_sha256 is None else support_code(self.token_sha256)


def _beside(reason: str, error_code: str, message: str) -> str:
    return grouping.while_others_resolve(grouping.key(reason, error_code, message))


class PageCursor(NamedTuple):
    """Where a page ended: the dead letter after which the next page begins."""

    failed_at: datetime
    id: int

    @property
    def text(self) -> str:
        """As text, for a person to pass on; see `read_cursor`."""
        return f"{(self.failed_at - _EPOCH) // _MICROSECOND}-{self.id}"


def read_cursor(text: str) -> PageCursor:
    """Return the cursor that a text names.

    Raises:
        ValueError: It names none; the message does not repeat the text.
    """
    match = _CURSOR.fullmatch(text.strip())
    try:
        if match is not None and int(match[2]) < _IDS:
            return PageCursor(_EPOCH + int(match[1]) * _MICROSECOND, int(match[2]))
    except OverflowError:
        pass
    raise ValueError("does not say where a page ended; copy it from the end of that page")


@dataclass(frozen=True, slots=True)
class Page:
    """Dead letters, the newest failure first, and where the next page begins; None at the end."""

    letters: tuple[DeadLetter, ...]
    next: PageCursor | None


@dataclass(frozen=True, slots=True)
class LetterEvent:
    """Something that happened to a dead letter.

    Attributes:
        attempts: Calls spent on the token until then.
        actor: Who did it, if a person did.
        reason: Why they did.
        replay_id: By which replay.
    """

    at: datetime
    kind: str
    error_code: str | None = None
    error_message: str | None = None
    attempts: int | None = None
    actor: str | None = None
    reason: str | None = None
    replay_id: int | None = None


@dataclass(frozen=True, slots=True)
class DeadLetterDetail:
    """All that is known of one dead letter except what is sealed in it.

    Attributes:
        metadata: The JSON object as the publisher wrote it.
        is_kept: Whether the payload is still there.
        history: What happened to it, oldest first.
        earlier: Whether more had happened before.
    """

    letter: DeadLetter
    body_sha256: bytes
    body_bytes: int
    correlation_id: str | None
    lane: str
    metadata: str | None = field(repr=False)
    seal_key_id: str
    closed_at: datetime | None
    shredded_at: datetime | None
    is_kept: bool
    history: tuple[LetterEvent, ...] = ()
    earlier: bool = False


@dataclass(frozen=True, slots=True)
class SealedPayload:
    """What is sealed in a dead letter, and to which public key; None once it was shredded.

    Attributes:
        body_sha256: Of the body of the message that was given up.
        body_bytes: How long that is.
    """

    id: int
    sealed: bytes | None = field(repr=False)
    seal_key_id: str
    body_sha256: bytes
    body_bytes: int
    shredded_at: datetime | None
