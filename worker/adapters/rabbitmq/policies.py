"""Which policies of the broker make our queues lose messages, as its management interface has them.

Of the policies that match a queue the one with the highest priority applies, and likewise of the
operator policies; the two are merged. An argument of the queue does not shut a policy out: of
numbers the lower counts, and the policy's `overflow` goes before the queue's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.rabbitmq.topology import LANE_QUEUES, PARKED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from worker.adapters.rabbitmq.topology import Queue, Topology

BYTES: Final = "max-length-bytes"
_ON_OURS: Final = ("all", "queues", "quorum_queues")
_LEAST_DELIVERIES: Final = 100
_EXPIRES: Final = "deletes a queue that no worker uses for so long, with all that is in it"
_PARKED_TTL: Final = "drops parked messages that no worker takes for so long"
_LANE_TTL: Final = "takes tokens that wait for so long out of their lane, and may lose them then"
_RETRY_TTL: Final = "ends the wait for the next attempt too early"
_DROP_HEAD: Final = "drops the oldest messages of a full queue instead of refusing new ones"
_DELIVERIES: Final = "drops parked messages that were delivered so often"


@dataclass(frozen=True, slots=True)
class Harm:
    """What a policy does to some of our queues.

    Attributes:
        operator: Whether it is an operator policy, which no other policy shuts out.
        setting: The harmful part of its definition, such as `expires 20000`.
    """

    name: str
    operator: bool
    setting: str
    effect: str
    queues: tuple[str, ...]

    @property
    def text(self) -> str:
        """For a person."""
        kind = "operator policy" if self.operator else "policy"
        return f"the {kind} {self.name} ({self.setting}) {self.effect}: {', '.join(self.queues)}"


def harms(
    topology: Topology, policies: Iterable[Any], operator_policies: Iterable[Any]
) -> list[Harm]:
    """What the policies that apply to our queues do to them."""
    found: defaultdict[tuple[str, bool, str, str], list[str]] = defaultdict(list)
    for queue in topology.queues:
        for operator, some in ((False, policies), (True, operator_policies)):
            if bearing := applied(some, queue.name):
                definition = bearing["definition"]
                for setting, effect in _harmful(queue, definition):
                    told = f"{setting} {definition[setting]}"
                    found[bearing["name"], operator, told, effect].append(queue.name)
    return [Harm(*harm, tuple(queues)) for harm, queues in found.items()]


def _harmful(queue: Queue, definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "expires" in definition:
        yield "expires", _EXPIRES
    if "message-ttl" in definition and (effect := _of_ttl(queue, definition["message-ttl"])):
        yield "message-ttl", effect
    if definition.get("overflow") == "drop-head":
        yield "overflow", _DROP_HEAD
    limit = definition.get("delivery-limit", _LEAST_DELIVERIES)
    if queue.name == PARKED and limit < _LEAST_DELIVERIES:
        yield "delivery-limit", _DELIVERIES


def _of_ttl(queue: Queue, milliseconds: int) -> str:
    if queue.name == PARKED:
        return _PARKED_TTL
    if queue.name in LANE_QUEUES.values():
        return _LANE_TTL
    return _RETRY_TTL if milliseconds < int(queue.arguments["x-message-ttl"]) else ""


def applied(policies: Iterable[Any], queue: str) -> Any:
    """The policy that applies to a queue: the matching one with the highest priority, or None."""
    matching = [
        each
        for each in policies
        if each["apply-to"] in _ON_OURS and matches(each["pattern"], queue)
    ]
    return max(matching, key=lambda each: int(each["priority"]), default=None)


def matches(expression: str, name: str) -> bool:
    """Whether the broker takes an expression to match a name; in doubt it does."""
    try:
        return expression != "" and re.search(expression, name) is not None
    except re.error:  # valid in Erlang but not in Python: report it, so that a person checks it
        return True
