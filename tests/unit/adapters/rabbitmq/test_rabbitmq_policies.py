"""Which policies make our queues lose messages."""

from __future__ import annotations

from typing import Any

import pytest

from worker.adapters.rabbitmq.policies import harms
from worker.adapters.rabbitmq.topology import topology

TOPOLOGY = topology({"5s": 5.0, "2m": 120.0})
LANES = ("resolution.tokens", "resolution.backlog", "resolution.crowd")
RETRIES = ("resolution.retry.5s", "resolution.retry.2m")
PARKED = ("resolution.parked",)
ALL = (*LANES, *PARKED, *RETRIES)


def policy(name: str = "sweep", priority: int = 0, pattern: str = ".*", **more: Any) -> Any:
    """A policy as the management interface lists it."""
    apply_to = more.pop("apply_to", "queues")
    definition = {key.replace("_", "-"): value for key, value in more.items()}
    listed = {"name": name, "pattern": pattern, "apply-to": apply_to, "priority": priority}
    return listed | {"definition": definition}


@pytest.mark.parametrize(
    ("definition", "hit"),
    [
        ({"expires": 20_000}, {("expires 20000", ALL)}),
        (
            {"message_ttl": 60_000},
            {
                ("message-ttl 60000", LANES),
                ("message-ttl 60000", PARKED),
                ("message-ttl 60000", ("resolution.retry.2m",)),
            },
        ),
        ({"max_length": 10}, set()),
        ({"max_length": 10, "overflow": "reject-publish"}, set()),
        ({"max_length": 10, "overflow": "drop-head"}, {("overflow drop-head", ALL)}),
        ({"delivery_limit": 20}, {("delivery-limit 20", PARKED)}),
        ({"delivery_limit": -1}, {("delivery-limit -1", PARKED)}),
        ({"delivery_limit": 1000}, set()),
        ({"max_length_bytes": 4 << 30}, set()),
        ({"expires": 20_000, "apply_to": "exchanges"}, set()),
        ({"expires": 20_000, "apply_to": "classic_queues"}, set()),
        ({"expires": 20_000, "apply_to": "quorum_queues"}, {("expires 20000", ALL)}),
        ({"expires": 20_000, "pattern": r"^resolution\.retry\."}, {("expires 20000", RETRIES)}),
    ],
)
@pytest.mark.parametrize("operator", [False, True])
def test_what_a_policy_does(
    definition: dict[str, Any], hit: set[tuple[str, tuple[str, ...]]], *, operator: bool
) -> None:
    """Each harmful part is named, with the queues to which it is harmful."""
    some, none = [policy(**definition)], list[Any]()
    found = harms(TOPOLOGY, *((none, some) if operator else (some, none)))
    assert {(harm.setting, harm.queues) for harm in found} == hit
    assert {harm.operator for harm in found} <= {operator}


def test_policies_do_not_merge_but_operator_policies_do() -> None:
    """Of policies the one of the highest priority counts; an operator policy counts beside it."""
    sweep = policy(expires=20_000, priority=5)
    ours = policy("resolution", 100, r"^resolution\.", max_length_bytes=4 << 30)
    assert harms(TOPOLOGY, [sweep, ours], []) == []
    (told,) = harms(TOPOLOGY, [sweep, ours], [sweep])
    assert told.text.startswith("the operator policy sweep (expires 20000) deletes a queue that no")
    above = policy("above", 101, expires=1)
    assert [harm.name for harm in harms(TOPOLOGY, [above, ours], [])] == ["above"]
