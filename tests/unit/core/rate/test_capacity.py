"""For how many replicas there is work."""

from __future__ import annotations

import math
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.rate.capacity import (
    FALL_SECONDS,
    LEAST_RATE,
    MEMORY_SECONDS,
    PROCESS_RATE,
    RISE_SECONDS,
    Limit,
    Plan,
    advance,
    begun,
    restored,
    stored,
)
from worker.core.rate.fleet import ReplicaState, Report

rates = st.floats(0.1, 1e6)
waiting = st.integers(0, 2_000_000)


def plan_of(
    called: float, call_seconds: float = 0.1, concurrency: int = 64, live: int = 0, bulk: int = 0
) -> Plan:
    """A plan of one replica, after steady calls."""
    calls = called * MEMORY_SECONDS
    busy = calls * call_seconds
    return Plan(1, 1, 0.0, 0.0, MEMORY_SECONDS, calls, busy, concurrency, live, bulk)


def course(seconds: float, *, live: int, rate: float = 4000.0, start: Plan | None = None) -> Plan:
    """The plan after reports of one a second, while so many buyers wait."""
    plan = start or begun(1, 0.0)
    for _ in range(round(seconds)):
        plan = advance(
            plan, Report(), ReplicaState(live=live), plan.updated + 1, rate=rate, paused=False
        )
    return plan


@pytest.mark.parametrize(
    ("plan", "rate", "replicas"),
    [
        (plan_of(0), 40, 1),
        (plan_of(40, live=5000), 40, 1),  # the quota binds long before the process
        (plan_of(500, 0.02, live=60_000), 2000, 3),  # a process answers 800
        (plan_of(500, 0.02, live=9000), 2000, 1),
        (plan_of(50, 1.0, live=6000), 200, 4),  # 64 calls at once of a second each: 51 a second
        (plan_of(0, bulk=600_000), 4000, 2),  # within ten minutes
        (plan_of(0.9, 1.0, 1, bulk=2_000_000), 40, 8),  # so that each still has five a second
        (plan_of(0.9, 1.0, 1, live=900), 4, 1),
    ],
)
def test_what_waits_and_the_rate_are_worth(plan: Plan, rate: float, replicas: int) -> None:
    """What arrives and waits, at most the rate, by what one replica can do."""
    assert plan.worth(rate) == replicas


@given(rates, rates, st.floats(0.001, 60), st.integers(1, 1000), waiting, waiting)
def test_there_is_always_one_and_none_without_calls_to_make(  # noqa: PLR0917 - as hypothesis gives them
    rate: float, called: float, call_seconds: float, concurrency: int, live: int, bulk: int
) -> None:
    """At least one, at most as many as have five calls a second each; more demand, no fewer."""
    plan = plan_of(called, call_seconds, concurrency, live, bulk)
    worth = plan.worth(rate)
    assert 1 <= worth <= max(1, rate / LEAST_RATE)
    assert plan.worth(2 * rate) >= worth
    assert replace(plan, live=live + 1000).worth(rate) >= worth
    assert plan.each <= PROCESS_RATE


@pytest.mark.parametrize(
    ("plan", "rate", "ceiling", "live", "starved", "limit"),
    [
        (plan_of(3), 40, None, 2, False, Limit.NOTHING),
        (plan_of(39, live=10), 40, None, 2, False, Limit.QUOTA),
        (plan_of(3), 40, None, 2, True, Limit.QUOTA),
        (plan_of(39, live=10), 40, 40, 2, False, Limit.CEILING),
        (plan_of(39, live=10), 40, 60, 2, False, Limit.QUOTA),
        (plan_of(50, 1.0, live=6000), 200, None, 1, False, Limit.CONCURRENCY),
        (plan_of(50, 1.0, live=6000), 200, None, 4, False, Limit.QUOTA),
        (plan_of(800, 0.01, live=60_000), 2000, None, 1, False, Limit.PROCESS),
    ],
)
def test_what_binds(
    plan: Plan, rate: float, ceiling: float | None, live: int, limit: Limit, *, starved: bool
) -> None:
    """What the live replicas can't do, else what they may not, else nothing."""
    assert plan.limit(rate, ceiling, live, starved=starved) is limit


@given(rates, rates, st.floats(0.001, 5), waiting, st.integers(1, 20))
def test_the_concurrency_that_is_named_is_enough(
    rate: float, called: float, call_seconds: float, live: int, replicas: int
) -> None:
    """With it, WORKER_POOL__CONCURRENCY binds no longer."""
    plan = plan_of(called, call_seconds, live=live)
    enough = plan.concurrency_for(rate, replicas)
    if plan.calls >= 1:
        enough_plan = replace(plan, concurrency=enough)
        useful = min(rate, plan.demand) * (1 - 1e-9)
        limit = enough_plan.limit(useful, None, replicas, starved=False)
        assert limit is not Limit.CONCURRENCY


def test_more_are_wanted_once_that_was_so_for_half_a_minute() -> None:
    """As many as were worth it all the time, not as many as at the end or at a peak."""
    busy = course(RISE_SECONDS, live=72_000)  # 2400 a second
    assert busy.replicas == 1
    assert course(2, live=48_000, start=busy).replicas == 2
    assert course(2, live=72_000, start=busy).replicas == 3


def test_fewer_are_wanted_once_that_was_so_for_five_minutes() -> None:
    """A minute of rest stops nobody."""
    busy = replace(begun(1, 0.0), replicas=3, nearest=3)
    rested = course(FALL_SECONDS, live=0, start=busy)
    assert rested.replicas == 3
    assert course(2, live=0, start=rested).replicas == 1


@given(st.lists(st.tuples(st.floats(0.5, 90), st.integers(0, 200_000)), min_size=2, max_size=60))
def test_it_never_flaps(reports: list[tuple[float, int]]) -> None:
    """Whatever is reported, it moves at most once in half a minute, and to what was worth it."""
    plan, moved, seen = begun(1, 0.0), 0.0, {1}
    for seconds, live in reports:
        now = plan.updated + seconds
        later = advance(plan, Report(), ReplicaState(live=live), now, rate=5000.0, paused=False)
        seen.add(later.worth(5000.0))
        if later.replicas != plan.replicas:
            assert now - moved >= RISE_SECONDS
            moved = now
        assert min(seen) <= later.replicas <= max(seen)
        plan = later


def test_a_number_that_goes_back_and_forth_is_not_followed() -> None:
    """At the border between two numbers nothing changes."""
    plan = begun(1, 0.0)
    for second in range(2000):
        plan = course(1, live=24_600 if second % 20 < 18 else 23_400, start=plan)
    assert plan.replicas == 1


def test_a_pause_changes_nothing() -> None:
    """Calls say nothing then of what arrives."""
    plan = replace(begun(1, 0.0), replicas=3, nearest=3)
    for _ in range(3000):
        now = plan.updated + 1
        plan = advance(plan, Report(), ReplicaState(live=90_000), now, rate=5000.0, paused=True)
    assert plan.replicas == 3


def test_calls_and_their_duration_are_those_of_late() -> None:
    """Of all replicas together; what they took a minute ago hardly counts."""
    plan = begun(2, 0.0)
    for seconds in (2.0, 0.1):
        for _ in range(300):
            report = Report(calls=20, busy_seconds=20 * seconds)
            now = plan.updated + 0.5
            plan = advance(plan, report, ReplicaState(concurrency=8), now, rate=50, paused=False)
            assert plan.seconds < 5 or plan.called == pytest.approx(40, rel=0.02)
    assert plan.call_seconds == pytest.approx(0.1, rel=0.2)
    assert plan.each == pytest.approx(0.8 * 8 / plan.call_seconds)


@given(st.floats(0, 1e10), st.integers(1, 100), st.integers(0, 10**6))
def test_a_plan_survives_the_database(now: float, replicas: int, live: int) -> None:
    """As JSON, and with members that a later version adds."""
    plan = course(3, live=live, start=begun(replicas, now))
    assert restored(orjson.loads(orjson.dumps(stored(plan) | {"later": 1}))) == plan


@pytest.mark.parametrize(
    "wrong",
    [{"replicas": 0}, {"replicas": "3"}, {"calls": -1}, {"calls": math.nan}, {"since": None}],
)
def test_nonsense_is_no_plan(wrong: dict[str, object]) -> None:
    """What can't have been written so is left aside; the fleet then stays as large as it is."""
    assert restored(stored(begun(3, 1.0)) | wrong) is None
    assert restored(None) is None


def test_a_clock_set_back_does_not_wait_for_what_it_knew() -> None:
    """A database whose clock is behind goes on from its own time."""
    plan = advance(begun(2, 5000.0), Report(calls=3), ReplicaState(), 100.0, rate=10, paused=False)
    assert (plan.updated, plan.since, plan.calls) == (100.0, 100.0, 3)
