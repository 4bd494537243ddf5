"""For how many replicas there is work."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.rate.capacity import (
    FALL_SECONDS,
    FIRST_SECONDS,
    LEAST_RATE,
    MEMORY_SECONDS,
    PROCESS_RATE,
    RISE_SECONDS,
    UNSEEN_SECONDS,
    Limit,
    Plan,
    advance,
    begun,
    restored,
    stored,
)
from worker.core.rate.fleet import ReplicaState, Report

BLIND = ReplicaState()  # without a connection to the broker
rates = st.floats(0.1, 1e6)
waiting = st.integers(0, 2_000_000)


def plan_of(
    called: float, call_seconds: float = 0.1, concurrency: int = 64, live: int = 0, bulk: int = 0
) -> Plan:
    """A plan of one replica, after steady calls."""
    calls = called * MEMORY_SECONDS
    busy = calls * call_seconds
    return Plan(1, 1, 0.0, 0.0, MEMORY_SECONDS, calls, busy, concurrency, live, bulk)


def seeing(live: int, concurrency: int = 1) -> ReplicaState:
    """What a replica reports that knows its queues."""
    return ReplicaState(live=live, bulk=0, concurrency=concurrency)


def wanting(replicas: int, now: float = 0.0) -> Plan:
    """A plan of so many, the queues being known."""
    return Plan(replicas, replicas, since=now, updated=now, seen=now)


def reported(plan: Plan, *states: ReplicaState, report: Report | None = None) -> Plan:
    """The plan after a second in which each of these replicas has reported."""
    began = plan.updated
    for number, state in enumerate(states, 1):
        now = began + number / len(states)
        plan = advance(plan, report or Report(), state, now, rate=4000.0, paused=False)
    return plan


def course(seconds: float, *states: ReplicaState, start: Plan | None = None) -> Plan:
    """The plan after so many seconds, in each of which each of these replicas reports."""
    plan = start or wanting(1)
    for _ in range(round(seconds)):
        plan = reported(plan, *states)
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
    busy = course(RISE_SECONDS, seeing(72_000))  # 2400 a second
    assert busy.replicas == 1
    assert course(2, seeing(48_000), start=busy).replicas == 2
    assert course(2, seeing(72_000), start=busy).replicas == 3


def test_fewer_are_wanted_once_that_was_so_for_five_minutes() -> None:
    """A minute of rest stops nobody."""
    rested = course(FALL_SECONDS, seeing(0), start=wanting(3))
    assert rested.replicas == 3
    assert course(2, seeing(0), start=rested).replicas == 1


# --- queues that are not known ---


def test_one_that_is_blind_keeps_nobody_from_rising() -> None:
    """A replica without the broker takes nothing away from what the other one sees."""
    plan = course(RISE_SECONDS + 2, seeing(72_000), BLIND)
    assert (plan.replicas, plan.live) == (3, 72_000)


def test_while_all_are_blind_nothing_changes() -> None:
    """After ten minutes without the broker there are as many as before, when the backlog comes."""
    busy = course(FALL_SECONDS - 15, seeing(0), start=wanting(6))
    assert course(600, BLIND, BLIND, start=busy).replicas == 6
    back = course(600, BLIND, start=busy)
    assert course(FALL_SECONDS - 5, seeing(0), start=back).replicas == 6, "it is counted anew"
    assert course(FALL_SECONDS + 5, seeing(0), start=back).replicas == 1
    assert course(600, BLIND, start=wanting(1)).replicas == 1


def test_what_was_waiting_counts_for_some_seconds() -> None:
    """A connection that is lost and made again delays no rise."""
    plan = course(RISE_SECONDS - 5, seeing(72_000))
    assert course(7, BLIND, start=plan).replicas == 3


def test_after_an_outage_of_the_database_the_time_is_counted_anew() -> None:
    """What nobody has reported was not so all the time."""
    plan = course(3, seeing(0), start=wanting(6))
    late = replace(plan, updated=plan.updated + 3 * FALL_SECONDS)
    assert course(2, seeing(0), start=late).replicas == 6


@given(
    st.lists(
        st.tuples(st.floats(0.2, 40), st.none() | st.integers(0, 200_000)), min_size=2, max_size=80
    )
)
def test_it_moves_only_while_the_queues_are_known(reports: list[tuple[float, int | None]]) -> None:
    """Whoever reports and whoever is blind: no move unless all was known for long enough."""
    plan, known = wanting(3), [0.0]
    for seconds, live in reports:
        state = BLIND if live is None else seeing(live)
        now = plan.updated + seconds
        later = advance(plan, Report(), state, now, rate=5000.0, paused=False)
        if later.replicas != plan.replicas:
            lately = [at for at in known if at >= now - RISE_SECONDS - UNSEEN_SECONDS]
            gaps = [after - before for before, after in pairwise([*lately, now])]
            assert lately[0] <= now - RISE_SECONDS + UNSEEN_SECONDS
            assert max(gaps) <= UNSEEN_SECONDS + 1e-6
        if live is not None:
            known.append(now)
        plan = later


# --- the beginning ---


def test_no_number_is_told_before_calls_and_queues_are_known() -> None:
    """For a moment; then it is what is worth it, however many are live."""
    assert course(60, BLIND, start=begun(1, 0.0)).replicas == 0
    plan = course(FIRST_SECONDS - 1, seeing(72_000), start=begun(1, 0.0))
    assert plan.replicas == 0
    assert course(3, seeing(72_000), start=plan).replicas == 3


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), min_size=5, max_size=200))
def test_a_roll_out_drives_nothing_upward(reports: list[tuple[bool, int]]) -> None:
    """Beside a version that drops the plan: no number, or what is worth it; never what is live."""
    plan = begun(1, 0.0)
    for drops, live in reports:
        plan = course(1, seeing(live), start=begun(1, plan.updated) if drops else plan)
        assert plan.replicas in {0, 1}


# --- unequal settings ---


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 6), st.integers(1, 6))
def test_the_concurrency_is_the_mean_of_those_that_report(
    one: int, other: int, of_one: int, of_other: int
) -> None:
    """So two settings don't take turns, and all that is in flight is the mean by the replicas."""
    replicas = [seeing(0, one)] * of_one + [seeing(0, other)] * of_other
    settled = course(300, *replicas, start=begun(one, 0.0))
    mean = (one * of_one + other * of_other) / len(replicas)
    apart = abs(one - other)
    assert settled.concurrency == pytest.approx(mean, abs=0.02 * apart + 1e-6)
    for state in replicas:
        moved = abs(reported(settled, state).concurrency - settled.concurrency)
        assert moved <= 0.04 * apart + 1e-6


def test_unequal_concurrency_changes_no_number_back_and_forth() -> None:
    """Calls of a second with 64 and 8 at once: 36 on the mean, 28.8 a second for each."""
    report = Report(calls=20, busy_seconds=20.0)
    plan, told = replace(wanting(1), concurrency=64), []
    for _ in range(600):
        plan = reported(plan, seeing(300, 64), seeing(300, 8), report=report)
        told.append(plan.replicas)
    assert plan.each == pytest.approx(28.8, rel=0.03)
    assert sorted(told) == told
    assert told[-1] == 2


@given(st.lists(st.tuples(st.floats(0.5, 15), st.integers(0, 200_000)), min_size=2, max_size=90))
def test_it_never_flaps(reports: list[tuple[float, int]]) -> None:
    """Whatever is reported, it moves at most once in half a minute, and to what was worth it."""
    plan, moved, seen = wanting(1), 0.0, {1}
    for seconds, live in reports:
        now = plan.updated + seconds
        later = advance(plan, Report(), seeing(live), now, rate=5000.0, paused=False)
        seen.add(later.worth(5000.0))
        if later.replicas != plan.replicas:
            assert now - moved >= RISE_SECONDS
            moved = now
        assert min(seen) <= later.replicas <= max(seen)
        plan = later


def test_a_number_that_goes_back_and_forth_is_not_followed() -> None:
    """At the border between two numbers nothing changes."""
    plan = wanting(1)
    for second in range(2000):
        plan = course(1, seeing(24_600 if second % 20 < 18 else 23_400), start=plan)
    assert plan.replicas == 1


def test_a_pause_changes_nothing() -> None:
    """Calls say nothing then of what arrives."""
    plan = wanting(3)
    for _ in range(3000):
        now = plan.updated + 1
        plan = advance(plan, Report(), seeing(90_000), now, rate=5000.0, paused=True)
    assert plan.replicas == 3


def test_calls_and_their_duration_are_those_of_late() -> None:
    """Of all replicas together; what they took a minute ago hardly counts."""
    plan = begun(8, 0.0)
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
    plan = course(3, seeing(live), start=wanting(replicas, now))
    assert restored(orjson.loads(orjson.dumps(stored(plan) | {"later": 1}))) == plan


@pytest.mark.parametrize(
    "wrong",
    [{"replicas": -1}, {"replicas": "3"}, {"calls": -1}, {"calls": math.nan}, {"since": None}],
)
def test_nonsense_is_no_plan(wrong: dict[str, object]) -> None:
    """What can't have been written so is left aside, and all is counted anew."""
    assert restored(stored(wanting(3)) | wrong) is None
    assert restored(None) is None


def test_a_plan_without_the_time_of_the_last_look_is_read() -> None:
    """Its number stays until the queues are known again."""
    document = stored(wanting(3))
    del document["seen"]
    plan = restored(document)
    assert plan is not None
    assert plan.seen == 0
    assert course(600, BLIND, start=plan).replicas == 3
    assert course(FALL_SECONDS + 5, seeing(0), start=plan).replicas == 1


def test_a_clock_set_back_does_not_wait_for_what_it_knew() -> None:
    """A database whose clock is behind goes on from its own time."""
    plan = advance(wanting(2, 5000.0), Report(calls=3), BLIND, 100.0, rate=10, paused=False)
    assert (plan.updated, plan.since, plan.seen, plan.calls) == (100.0, 100.0, 100.0, 3)
