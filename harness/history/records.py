"""What was published, what was found afterwards, and what the checker says about both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESOLVED: Final = "resolved"
MALFORMED: Final = "malformed"
PARKED: Final = "parked"
EVENT: Final = "event"
REPLY: Final = "reply"
PENDING: Final = "pending"

LIFETIME_SECONDS: Final = 4 * 3600.0


class Kind(Enum):
    """What is wrong, in one word."""

    LOST = "lost"
    DOUBLED = "doubled"
    WRONG = "wrong"
    STRANGER = "stranger"
    EARLY_ACK = "early ack"
    LATE_CALL = "late call"
    MISDIRECTED = "misdirected"
    LEAKED = "leaked"
    LEFT = "left"


class Finding(NamedTuple):
    """One thing that is wrong. Its words name messages by id, never a token."""

    kind: Kind
    words: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.words}"


class Due(NamedTuple):
    """An outcome that a message may have; `parked` for one that the broker gives up."""

    status: str
    error_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One message as it was published.

    Attributes:
        message_id: Under which its outcome is told.
        token: Its token, or None where the message can't be read.
        due: The outcomes that are right for it; mostly one.
        at: When it was confirmed (seconds since the epoch).
        reply_to: The routing key under which it must be answered, or None.
        answer: What AWS says to its token, as columns; None for what the simulator says.
        confirmed: Whether the broker confirmed it. What was not confirmed may be gone.
    """

    message_id: str
    body: bytes = field(repr=False)
    token: str | None = field(repr=False)
    due: tuple[Due, ...]
    lane: str = "live"
    at: float = 0.0
    reply_to: str | None = None
    correlation_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    answer: Mapping[str, Any] | None = None
    confirmed: bool = True

    @property
    def key(self) -> bytes | None:
        """Under which its token stands in the ledger."""
        return None if self.token is None else sha(self.token.encode("utf-8", "surrogatepass"))

    @property
    def body_sha256(self) -> bytes:
        """Under which its body is known."""
        return sha(self.body)

    def may_be(self, status: str) -> bool:
        """Whether this status is right for it."""
        return any(due.status == status for due in self.due)


@dataclass(frozen=True, slots=True)
class Received:
    """An event or a reply, as it was received."""

    channel: str
    routing_key: str
    correlation_id: str | None
    body: Mapping[str, Any]
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    """A call that reached AWS.

    Attributes:
        token_sha256: Its token's.
        at: When it came (seconds since the epoch).
        answered: When it was answered as resolved, by the same clock; None where it was not.
    """

    token_sha256: bytes
    at: float
    answered: float | None = None


Row = dict[str, Any]


@dataclass(slots=True)
class History:
    """Everything that can be found out once all is over.

    Attributes:
        received: Events and replies, in the order in which they came.
        calls: The calls that reached AWS, or None where nobody counted them.
        outcomes: Rows of `resolution.outcomes`.
        agreements: Rows of `resolution.agreements`.
        malformed: Rows of `resolution.malformed`.
        letters: Rows of `resolution.dead_letter`: at least message_id, body_sha256,
            token_sha256, reason and state.
        queues: Messages left in each queue.
        texts: Whatever else may hold a secret, by where it is from: logs, metrics, dumps.
        canaries: Texts that are part of every token and of nothing else; empty to look for each
            token by itself.
        strangers_to_aws: Tokens that may be called for though nobody published them: probes.
        one_process: Whether a single worker process did it all. Others need not know at once
            what one has settled.
    """

    received: list[Received] = field(default_factory=list)
    calls: list[Call] | None = None
    outcomes: list[Row] = field(default_factory=list)
    agreements: list[Row] = field(default_factory=list)
    malformed: list[Row] = field(default_factory=list)
    letters: list[Row] = field(default_factory=list)
    queues: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    canaries: Sequence[str] = ()
    strangers_to_aws: Sequence[str] = ("resolution-worker-probe",)
    one_process: bool = False


def sha(data: bytes) -> bytes:
    """The SHA-256 under which a token or a body is known."""
    return hashlib.sha256(data).digest()
