"""Messages that the worker sends: answers to submissions, and messages moved elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from worker.core.token import replies
from worker.core.token.headers import REFUSAL_HEADER, headers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from worker.core.records import Lane, Malformed, Outcome, Submission
    from worker.core.token.incoming import Incoming

INTERNAL: Final = "resolution.internal"
ANSWERS: Final = "resolution.answers"
EVENTS: Final = "resolution.events"


class Kind(StrEnum):
    """What a message is for: the two kinds of answers, or a move to another queue of ours."""

    REPLY = "reply"
    EVENT = "event"
    MOVE = "move"


_KINDS: Final = {ANSWERS: Kind.REPLY, EVENTS: Kind.EVENT}


def retry_exchange(delay: str) -> str:
    """The name of a retry queue and of the exchange before it."""
    return f"resolution.retry.{delay}"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One persistent message to publish with a confirm.

    Attributes:
        user_id: The broker's user who publishes it, if the message is to name it. The broker
            refuses any other, and closes the channel over it.
        mandatory: Unroutable is a failure. An event may find no queue; of a reply it is told.
        about: The outcome that an event carries; None where there is no token.
    """

    exchange: str
    routing_key: str
    body: bytes = field(repr=False)
    message_id: str
    correlation_id: str | None = None
    reply_to: str | None = None
    timestamp: datetime | None = None
    user_id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    mandatory: bool = False
    about: Outcome | None = field(default=None, repr=False)

    @property
    def kind(self) -> Kind:
        """What it is for."""
        return _KINDS.get(self.exchange, Kind.MOVE)


def answers(outcome: Outcome, submission: Submission, *, repeated: bool) -> tuple[Outgoing, ...]:
    """The event for one submission and, if it asked for one, the reply."""
    body = replies.outcome_body(outcome, submission, repeated=repeated)
    return _answers(body, f"token.{outcome.status}", submission, outcome)


def malformed_answers(malformed: Malformed, now: datetime) -> tuple[Outgoing, ...]:
    """The event and, where one was asked for and may be given, the reply."""
    return _answers(replies.malformed_body(malformed, now), "token.malformed", malformed)


def _answers(
    body: bytes, event: str, asker: Submission | Malformed, about: Outcome | None = None
) -> tuple[Outgoing, ...]:
    message_id, correlation_id = asker.message_id, asker.correlation_id
    told = Outgoing(EVENTS, event, body, message_id, correlation_id, about=about)
    if asker.reply_to is None:
        return (told,)
    reply = Outgoing(ANSWERS, asker.reply_to, body, message_id, correlation_id, mandatory=True)
    return told, reply


def retry(
    submission: Submission,
    incoming: Incoming,
    lane: Lane,
    delay: str,
    *,
    attempts: int,
    counted: bool,
) -> Outgoing:
    """A message on its way into a retry queue, out of which it comes back into its own lane."""
    ours = headers(submission, attempts=attempts, returns=submission.returns + counted)
    return _moved(retry_exchange(delay), submission, incoming, lane, ours)


def give_back(submission: Submission, incoming: Incoming, lane: Lane, *, attempts: int) -> Outgoing:
    """A message on its way back into its lane, behind the others, nothing forgotten."""
    ours = headers(submission, attempts=attempts, returns=submission.returns)
    return _moved(INTERNAL, submission, incoming, lane, ours)


def _moved(
    exchange: str,
    submission: Submission,
    incoming: Incoming,
    lane: Lane,
    headers: Mapping[str, int | str],
) -> Outgoing:
    # No others travel on: a republished `x-death` can be taken for a dead-letter cycle.
    return Outgoing(
        exchange=exchange,
        routing_key=lane.value,
        body=incoming.body,
        message_id=submission.message_id,
        correlation_id=submission.correlation_id,
        reply_to=incoming.reply_to,
        timestamp=incoming.timestamp,
        headers={**incoming.trace, **headers},
        mandatory=True,
    )


def park(incoming: Incoming, message_id: str, refusal: str) -> Outgoing:
    """A message on its way to the parked ones, as it came, with why its row was refused."""
    return Outgoing(
        exchange=INTERNAL,
        routing_key="parked",
        body=incoming.body,
        message_id=message_id,
        correlation_id=incoming.correlation_id,
        reply_to=incoming.reply_to,
        timestamp=incoming.timestamp,
        headers={**incoming.trace, REFUSAL_HEADER: refusal},
        mandatory=True,
    )
