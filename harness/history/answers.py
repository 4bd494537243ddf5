"""Events and replies: each submission has its own, rightly told, and nobody else's."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from harness.history.kinds import answered, nothing
from harness.history.records import (
    EVENT,
    MALFORMED,
    PARKED,
    PENDING,
    REPLY,
    RESOLVED,
    Due,
    Finding,
    Kind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.history.records import History, Received, Submission

_SECONDS_OF_DOUBT = 1.0  # between two clock readings of one machine, and rounding


def events(sent: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    """A submission without its event is lost; if it is in no queue either, it was acked early."""
    received = _final(found.received, EVENT)
    left = sum(found.queues.values())
    for ident, one in sent.items():
        if one.due == (Due(PARKED),) and received[ident]:
            yield Finding(Kind.WRONG, f"{ident} was to be parked, and has an event")
            continue
        if not received[ident] and one.confirmed and not one.may_be(PARKED):
            kind = Kind.LOST if left else Kind.EARLY_ACK
            yield Finding(kind, f"no event for {ident} ({left} messages are left in queues)")
        for event in received[ident]:
            if event.routing_key != f"token.{event.body.get('status')}":
                yield Finding(Kind.WRONG, f"the event of {ident} went under {event.routing_key}")
            yield from _answer(one, event)
    yield from _strangers(received, sent, "event")


def replies(sent: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    """Who asked for a reply has one, with nothing in it of another's; nobody else has one."""
    received = _final(found.received, REPLY)
    for ident, one in sent.items():
        if one.reply_to is not None and one.confirmed and not received[ident]:
            yield Finding(Kind.LOST, f"no reply to {ident}")
        for reply in received[ident]:
            if reply.routing_key != one.reply_to:
                words = f"the reply to {ident} went to {reply.routing_key}, not {one.reply_to}"
                yield Finding(Kind.MISDIRECTED, words)
            yield from _answer(one, reply)
    yield from _strangers(received, sent, "reply")


def told_before_settled(sent: Mapping[str, Submission], found: History) -> Iterator[Finding]:
    """What is told as resolved stands in the ledger, and stood there before."""
    rows = {row["token_sha256"]: row for row in found.outcomes}
    for received in found.received:
        one = sent.get(str(received.body.get("message_id")))
        if one is None or one.key is None or received.body.get("status") != RESOLVED:
            continue
        row = rows.get(one.key)
        if row is None or row["status"] != RESOLVED:
            words = f"{one.message_id} was told that it is resolved, and the ledger does not say so"
            yield Finding(Kind.EARLY_ACK, words)
        elif row["settled_at"].timestamp() > received.at + _SECONDS_OF_DOUBT:
            words = f"{one.message_id} was told that it is resolved before it was settled"
            yield Finding(Kind.EARLY_ACK, words)


def _final(received: Sequence[Received], channel: str) -> defaultdict[str, list[Received]]:
    """By message id. A reply may say first that it takes a while."""
    by_id: defaultdict[str, list[Received]] = defaultdict(list)
    for one in received:
        pending = channel == REPLY and one.body.get("status") == PENDING
        if one.channel == channel and not pending:
            by_id[str(one.body.get("message_id"))].append(one)
    return by_id


def _strangers(
    received: Mapping[str, Sequence[Received]], sent: Mapping[str, Submission], what: str
) -> Iterator[Finding]:
    for ident, some in received.items():
        if some and ident not in sent:
            yield Finding(Kind.STRANGER, f"{what} for {ident}, which nobody sent")


def _answer(one: Submission, received: Received) -> Iterator[Finding]:
    body, where = received.body, f"the {received.channel} of {one.message_id}"
    status, code = body.get("status"), (body.get("error") or {}).get("code")
    right = {(due.status, due.error_code) for due in one.due}
    if (status, code) not in right and (status != MALFORMED or not one.may_be(MALFORMED)):
        yield Finding(Kind.WRONG, f"{where} says {status} ({code}), due is {one.due}")
    yield from _echoes(one, received, where)
    if one.key is None:
        return
    if body.get("token_sha256") != one.key.hex():
        yield Finding(Kind.MISDIRECTED, f"{where} tells of another token")
    due = answered(one) if status == RESOLVED else nothing()
    said = {name: body.get(name) for name in due}
    if said != due:
        yield Finding(Kind.MISDIRECTED, f"{where} tells of another's {said}, due is {due}")


def _echoes(one: Submission, received: Received, where: str) -> Iterator[Finding]:
    metadata = received.body.get("metadata") or {}
    # What can't be read may hold its token anywhere: then the worker withholds.
    withheld = one.token is None
    if received.correlation_id != one.correlation_id and not (
        withheld and received.correlation_id is None
    ):
        yield Finding(Kind.MISDIRECTED, f"{where} has the correlation id {received.correlation_id}")
    if metadata != (one.metadata or {}) and not (withheld and not metadata):
        yield Finding(Kind.MISDIRECTED, f"{where} has metadata that is not its own")
