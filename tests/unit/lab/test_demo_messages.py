"""What the demo submits."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec

from worker.core.records import Malformed, Submission
from worker.core.token.incoming import Incoming
from worker.core.token.submissions import parse
from worker.lab.demo.kinds import KINDS
from worker.lab.demo.messages import MISTAKES, Plan, make_plan

NOW = datetime(2026, 11, 22, 3, 28, tzinfo=UTC)
RUN = "demo-0a1b2c3d"


def plan(seed: int = 1, tokens: int = 1000) -> Plan:
    """A plan."""
    return make_plan(RUN, tokens, random.Random(seed))


def as_delivered(line: bytes) -> Incoming:
    """What `publish` makes of a line, and the broker hands to a worker."""
    members = msgspec.json.decode(line)
    properties = {name: members.pop(name, None) for name in ("message_id", "correlation_id")}
    return Incoming(
        msgspec.json.encode(members), reply_to=members.pop("reply_to", None), **properties
    )


def test_each_token_is_one_of_its_kind() -> None:
    """There are as many different tokens as asked for, of every kind, each submitted once first."""
    found = plan()

    assert len({one.sha256 for one in found.submissions}) == 1000
    assert len(found.originals) == 1000
    assert {one.kind for one in found.originals} == set(KINDS)


def test_copies_are_of_tokens_that_are_there() -> None:
    """Some tokens are submitted a second time, under an id of their own."""
    found = plan()
    copies = [one for one in found.submissions if one.is_copy]

    assert len(copies) == 40
    assert {one.sha256 for one in copies} <= {one.sha256 for one in found.originals}
    assert all(one.kind.may_be_sent_twice for one in copies)


def test_no_two_messages_have_one_id() -> None:
    """Every message of a run has an id of its own, which begins with the run's name."""
    found = plan()
    ids = [one.message_id for one in found.messages]

    assert len(set(ids)) == len(ids) == len(found.messages)
    assert all(one.startswith(f"{RUN}-") for one in ids)


def test_both_lanes_and_replies_are_used() -> None:
    """Most submissions take the live lane, the rest the backlog, and some ask for a reply."""
    found = plan()
    lanes = Counter(one.lane for one in found.submissions)

    assert 650 < lanes["live"] < 800
    assert lanes["backlog"] == len(found.backlog) == 1040 - lanes["live"]
    assert sum(one.reply_to == found.reply_to for one in found.submissions) > 10


def test_what_lingers_comes_early() -> None:
    """Tokens that take seconds are sent within the first half, so that nobody waits at the end."""
    found = plan(tokens=5000)
    half = found.backlog[len(found.backlog) // 2 :]

    assert not any(one.kind.lingers for one in half)


def test_the_seed_decides() -> None:
    """The same seed gives the same plan, another one another order."""
    first, again, other = plan(1), plan(1), plan(2)

    assert [one.kind for one in first.submissions] == [one.kind for one in again.submissions]
    assert [one.kind for one in first.submissions] != [one.kind for one in other.submissions]


def test_submissions_can_be_read() -> None:
    """The worker reads every submission, and finds the age that its kind is to have."""
    for one in plan().submissions:
        read, _ = parse(as_delivered(one.line(NOW)), NOW)

        assert isinstance(read, Submission)
        assert read.token.value == one.token
        assert read.message_id == one.message_id
        assert NOW - read.received_at == one.kind.age


def test_every_mistake_is_answered_by_its_code() -> None:
    """The worker can read none of the unreadable messages, and says why with the code expected."""
    found = plan().unreadable

    assert {one.answer.error_code for one in found} == {mistake.code for mistake in MISTAKES}
    for one in found:
        read, _ = parse(as_delivered(one.line(NOW)), NOW)
        assert isinstance(read, Malformed)
        assert (read.code, read.message_id) == (one.answer.error_code, one.message_id)


def test_tokens_hide_in_representations() -> None:
    """No message shows its token when it is printed."""
    assert not any(one.token in repr(one) for one in plan().messages)


def test_some_tokens_are_older_than_their_life() -> None:
    """At least one token is delivered more than four hours late."""
    assert any(one.kind.age > timedelta(hours=4) for one in plan().submissions)
