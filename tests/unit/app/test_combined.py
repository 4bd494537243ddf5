"""What a status says that none of its parts says by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from worker.adapters.postgres.rate.status import Member
from worker.adapters.rabbitmq.probing import Depth
from worker.app import combined

if TYPE_CHECKING:
    from collections.abc import Mapping

LANES = ("resolution.tokens", "resolution.backlog", "resolution.crowd")


def member(name: str, in_hand: Mapping[str, tuple[int, float]]) -> Member:
    """A live replica with so many messages in hand, the oldest so old."""
    return Member(name, 1, 1, None, "i", "1", datetime.now(UTC), in_hand=in_hand)


MEMBERS = [
    member("a", {"live": (120, 4.5), "backlog": (0, 0.0), "crowd": (3, 1.0)}),
    member("b", {"live": (40, 9.5)}),
    member("of the version before", {}),
]


def test_what_is_unacked_is_that_of_all_replicas() -> None:
    """A lane without ready messages may have many in hand; other queues say nothing of that."""
    queues = [Depth(name, 0, 3) for name in (*LANES, "resolution.parked")]
    found = combined.with_unacked(queues, MEMBERS)
    assert [each.unacked for each in found] == [160, 0, 3, None]


def test_the_oldest_is_the_oldest_of_any_replica() -> None:
    """By lane; a lane of which nobody has anything in hand has none."""
    assert combined.oldest(MEMBERS) == {"live": 9.5, "crowd": 1.0}


@pytest.mark.parametrize(
    ("live", "ready", "consumers", "words"),
    [
        (2, 0, 2, []),
        (0, 0, 0, []),
        (2, 7, 2, []),
        (2, 0, None, []),
        (2, 0, 0, ["2 replicas are live, but none consumes"]),
        (0, 7, 0, ["7 messages wait, and no replica works"]),
    ],
)
def test_what_contradicts_is_told(
    live: int, ready: int, consumers: int | None, words: list[str]
) -> None:
    """Replicas that live while nobody consumes, and messages for which nobody works."""
    queues = [Depth("resolution.tokens", ready, consumers), Depth("resolution.parked", 9, 0)]
    told = list(combined.faults(live, queues, consumers, {}))
    assert len(told) == len(words)
    assert all(word in line for word, line in zip(words, told, strict=True))


def test_a_lost_queue_is_told_with_what_to_do() -> None:
    """Whatever else is well."""
    (told,) = combined.faults(2, [], 2, ["resolution.retry.5s"])
    assert told.startswith("messages may be lost: resolution.retry.5s went missing on the broker")
    assert "topology acknowledge" in told
