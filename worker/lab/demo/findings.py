"""What was found after the show: in the database, and on the exchanges that tell of outcomes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


class Answer(NamedTuple):
    """What an event or a reply said."""

    status: str
    error_code: str | None


@dataclass(slots=True)
class Heard:
    """What was heard about one submission.

    Attributes:
        received_at: When the buyer's browser delivered the token, as the first event says.
        settled_at: When its outcome was decided, likewise.
        arrived_at: When that event was here.
        events: How many there were; a killed worker's are said again.
        answers: Every different answer in them.
    """

    received_at: datetime
    settled_at: datetime
    arrived_at: datetime
    events: int = 0
    answers: set[Answer] = field(default_factory=set)


@dataclass(slots=True)
class Hearing:
    """Everything that was heard, by message id.

    Attributes:
        events: What `resolution.events` told.
        replies: The answers that came as replies, each with its correlation id.
    """

    events: dict[str, Heard] = field(default_factory=dict)
    replies: defaultdict[str, set[tuple[Answer, str | None]]] = field(
        default_factory=lambda: defaultdict(set)
    )


@dataclass(frozen=True, slots=True)
class Records:
    """What the database's views say about this run.

    Attributes:
        outcomes: Rows of `resolution.outcomes`.
        agreements: Rows of `resolution.agreements`.
        malformed: Rows of `resolution.malformed`.
    """

    outcomes: Sequence[Mapping[str, object]]
    agreements: Sequence[Mapping[str, object]]
    malformed: Sequence[Mapping[str, object]]
