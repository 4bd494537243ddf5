"""What a status says that none of its parts says by itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from worker.adapters.rabbitmq.topology import LANE_QUEUES, TOKENS
from worker.app.lost_queues import loss

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from worker.adapters.postgres.rate.status import Member
    from worker.adapters.rabbitmq.probing import Depth

_LABELS: Final = {queue: lane.label for lane, queue in LANE_QUEUES.items()}


def with_unacked(queues: Sequence[Depth], members: Sequence[Member]) -> list[Depth]:
    """The queues, those of the lanes with what all replicas together have unacked."""
    unacked: Counter[str] = Counter()
    for member in members:
        unacked.update({lane: messages for lane, (messages, _) in member.in_hand.items()})
    return [
        replace(each, unacked=unacked[_LABELS[each.queue]]) if each.queue in _LABELS else each
        for each in queues
    ]


def oldest(members: Sequence[Member]) -> Mapping[str, float]:
    """By lane, the seconds since the oldest message in any replica's hand was received."""
    ages: dict[str, float] = {}
    for member in members:
        for lane, (messages, seconds) in member.in_hand.items():
            if messages:
                ages[lane] = max(seconds, ages.get(lane, 0.0))
    return ages


def faults(
    live: int, queues: Sequence[Depth], consumers: int | None, lost: Collection[str]
) -> Iterator[str]:
    """What is wrong although broker and database answer.

    Args:
        live: Replicas that keep their lease.
        queues: The broker's queues, as far as they are known.
        consumers: How many consume the live queue; None if that is not known.
        lost: Queues that went missing.
    """
    if lost:
        yield "; ".join(loss(lost))
    if consumers != 0:
        return
    waiting = sum(each.ready or 0 for each in queues if each.queue in _LABELS)
    if live:
        yield (
            f"{live} replicas are live, but none consumes {TOKENS}: see their /readyz, and "
            "`broker_link_down` in their logs"
        )
    elif waiting:
        yield f"{waiting} messages wait, and no replica works: start `resolution-worker run`"
