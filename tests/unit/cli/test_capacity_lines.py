"""What `status --capacity` says, and when it says that it does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from worker.adapters.postgres.rate.status import FleetStatus
from worker.app import fleet
from worker.cli import capacity_lines
from worker.core.rate.capacity import Limit, Plan, begun

NOW = 1_000_000.0
PLAN = Plan(
    replicas=2,
    nearest=2,
    since=NOW - 60,
    updated=NOW,
    seen=NOW,
    seconds=30.0,
    calls=1143.0,
    busy_seconds=114.3,
    concurrency=36.4,
    live=640,
    bulk=1200,
)
UNKNOWN = "replicas  0 live; how many are wanted is not known"
STOPPED = replace(PLAN, updated=NOW - 11_520, seen=NOW - 11_520)
BLIND = replace(PLAN, seen=NOW - 300)


def said(plan: Plan | None) -> list[str]:
    """The lines about a fleet with this plan, without those about the rate."""
    found = FleetStatus(
        rate=38.2,
        singly=False,
        configured=None,
        override=None,
        pause=None,
        members=(),
        plan=plan,
        now=NOW,
    )
    lines = capacity_lines.lines(fleet.capacity(found), "", "")
    return [line for line in lines if not line.startswith(("rate", "paused"))]


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (None, "not yet known: no replica of this version has worked with this database"),
        (STOPPED, "unknown: no replica has reported for 3 h 12 min"),
        (replace(PLAN, updated=NOW - 11), "unknown: no replica has reported for 11 s"),
        (
            begun(8, NOW),
            "not yet known: no replica has reached the broker, and looked at the queues",
        ),
    ],
)
def test_what_is_not_known_is_said_to_be_so(plan: Plan | None, why: str) -> None:
    """Figures of a fleet that has ended, or never saw a queue, are not shown as those of now."""
    first, binds = said(plan)
    assert first == UNKNOWN
    assert binds.startswith(f"binds     {why}")


def test_what_waited_before_the_broker_went_away_is_said_to_be_old() -> None:
    """The rest is as of now."""
    (demand,) = (line for line in said(BLIND) if line.startswith("demand"))
    assert demand.endswith(
        "640 buyers and 1200 other tokens waited 5 min ago, when a replica last reached the broker"
    )


def test_all_that_is_known_is_said() -> None:
    """The number, what it follows from, and what binds."""
    first, demand, each, binds = said(PLAN)
    assert first == "replicas  2 wanted, 0 live"
    assert demand == ("demand    61.43/s: 38.1/s are called, 640 buyers and 1200 other tokens wait")
    assert each.endswith("36 calls at once (WORKER_POOL__CONCURRENCY), 0.1 s each")
    assert binds.startswith("binds     AWS's quota, as far as it is known: 2 replicas")


def test_before_there_is_a_number_the_rest_is_said() -> None:
    """What is wanted is not known at first, what there is work for is."""
    first, *others = said(replace(PLAN, replicas=0, nearest=1))
    assert first == UNKNOWN
    assert len(others) == 3
    assert "1 replica can make all" in others[-1]


def test_a_pause_binds_more_than_any_quota() -> None:
    """While an operator holds all calls that is what is said."""
    found = fleet.Capacity(2, 1, now=2, binds=Limit.PAUSE, rate=38.2)
    assert capacity_lines.sentence(found) == "the pause: no call is made before it ends"
