"""The shared rate: constants computed by hand, and properties over any course of reports."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.core.rate import background, regrowth
from worker.core.rate.fleet import Report
from worker.core.rate.quota import FLOOR, HIGHEST, advance, initial, restored

if TYPE_CHECKING:
    from worker.core.rate.state import SharedRate

WAITING = math.inf

reports = st.builds(
    lambda calls, bad, tokens: Report(
        WAITING, calls, calls - min(bad, calls), min(bad, calls), min(bad, calls, tokens)
    ),
    st.integers(0, 2000),
    st.integers(0, 2000),
    st.integers(0, 300),
)
courses = st.lists(st.tuples(reports, st.floats(0.0, 30.0)), max_size=60)
rates = st.floats(0.1, 20_000.0)
ceilings = st.none() | st.floats(0.5, 5000.0)


def clean(rate: float) -> Report:
    """A second of one replica that uses all of a rate."""
    return Report(WAITING, round(rate), round(rate))


def known(rate: float) -> SharedRate:
    """A rate at a quota that was found: the first search is over."""
    return replace(initial(rate, 0.0), searching=False, low=rate, peak=rate)


def quiet(state: SharedRate, seconds: int, ceiling: float | None = None) -> SharedRate:
    """A lonely replica uses the rate for a while, and nothing is throttled."""
    for _ in range(seconds):
        state = advance(state, clean(state.rate), state.updated + 1.0, ceiling, 1)
    return state


def course_of(
    state: SharedRate, course: list[tuple[Report, float]], ceiling: float | None, replicas: int
) -> list[SharedRate]:
    """The states that a course of reports leads to."""
    states = []
    for report, pause in course:
        state = advance(state, report, state.updated + pause, ceiling, replicas)
        states.append(state)
    return states


# --- the search and the first cut ---


def test_the_rate_doubles_each_epoch_while_it_is_used() -> None:
    """From 10 a second, unthrottled, the rate is 20 after one epoch of 2 s and 320 after five."""
    assert quiet(initial(10.0, 0.0), 2).rate == 20.0
    assert quiet(initial(10.0, 0.0), 10).rate == 320.0


def test_a_rate_that_is_not_used_does_not_grow() -> None:
    """With half of the rate in use the rate stays for as long as that lasts."""
    state = initial(10.0, 0.0)
    for second in range(1, 100):
        state = advance(state, Report(5.0, 5, 5, 0, 0), float(second), None, 1)
    assert state.rate == 10.0


def test_two_tokens_cut_the_rate_to_85_percent() -> None:
    """At 100 a second, 2 of 100 calls throttled in one report and 1 in the next: 85 a second."""
    state = known(100.0)
    state = advance(state, Report(WAITING, 100, 98, 2, 2), 1.0, None, 1)
    state = advance(state, Report(WAITING, 100, 99, 1, 1), 2.0, None, 1)
    assert state.rate == pytest.approx(85.0)
    assert state.peak == pytest.approx(100.0 * (1 - 2 / 200))  # the first token began the measure


def test_a_rate_far_above_the_quota_falls_to_the_successes_measured() -> None:
    """At 10,000 a second, of which 300 are called and 240 let through: 0.95 of those 240."""
    state = initial(10_000.0, 0.0)
    for second in range(1, 4):
        state = advance(state, Report(WAITING, 300, 240, 60, 60), float(second), None, 1)
        if state.rate < 10_000:
            break
    assert state.rate == pytest.approx(0.95 * 240)


def test_successes_count_by_replica() -> None:
    """One of four replicas reporting 25 calls speaks for 100 a second."""
    state = initial(100.0, 0.0)
    for step in range(1, 9):
        state = advance(state, Report(WAITING, 25, 25, 0, 0), step / 4, None, 4)
    assert state.rate == 200.0


def test_a_report_of_several_seconds_is_no_higher_rate() -> None:
    """A replica that was held up for ten seconds and reports 200 calls has made 20 a second."""
    state = initial(100.0, 0.0)
    for second in (1.0, 2.0, 3.0):
        state = advance(state, Report(20.0, 200, 200, seconds=10.0), second, None, 1)
    assert state.rate == 100.0


def test_one_token_alone_holds_the_rate() -> None:
    """A single throttled token neither cuts the rate nor lets it grow in that time."""
    state = advance(known(40.0), Report(WAITING, 40, 39, 1, 1), 1.0, None, 1)
    for second in (2.0, 3.0, 4.0):
        state = advance(state, clean(40), second, None, 1)
        assert state.rate == 40.0
    assert quiet(state, 18).rate > 40.0


def test_while_a_cut_settles_what_was_called_before_does_not_count_again() -> None:
    """Throttles of calls made before the replicas knew of a cut do not cut once more."""
    state = known(40.0)
    for second in (1.0, 2.0, 3.0):
        state = advance(state, Report(WAITING, 40, 37, 3, 3), second, None, 1)
    assert state.rate == pytest.approx(34.0)
    state = advance(state, Report(WAITING, 40, 38, 2, 2), 3.5, None, 1)
    assert state.rate == pytest.approx(34.0)


def test_a_drop_is_followed_within_two_reports() -> None:
    """Of 40 calls 30 throttled: the rate is below half after two reports, not after ten epochs."""
    state = initial(40.0, 0.0)
    state = advance(state, Report(WAITING, 40, 10, 20, 20), 1.0, None, 1)
    assert state.rate <= 0.4 * 40
    assert state.rate >= 0.95 * 0.4 * 40


# --- regrowth ---


def test_regrowth_is_steep_then_flat_then_a_search() -> None:
    """After a cut from 40 to 34: half the way back after 0.8 s, flat at 40, doubled after 24 s."""
    assert regrowth.rate(34.0, 40.0, 0.0) == 34.0
    assert regrowth.rate(34.0, 40.0, 0.825) == pytest.approx(37.0, abs=0.01)
    assert regrowth.rate(34.0, 40.0, 4.0) == 40.0
    assert regrowth.rate(34.0, 40.0, 12.0) == pytest.approx(40.0 * 1.07)
    assert regrowth.rate(34.0, 40.0, 14.0) == pytest.approx(40.0 * 1.07 * 1.03)
    assert regrowth.rate(34.0, 40.0, 16.0) == pytest.approx(40.0 * 1.07 * 1.03 * 1.06)
    assert regrowth.rate(34.0, 40.0, 22.0) > 80.0


@given(low=rates, more=st.floats(1.0, 10.0), seconds=st.floats(0.0, 1e5), later=st.floats(0.0, 60))
def test_regrowth_never_falls(low: float, more: float, seconds: float, later: float) -> None:
    """Regrowth begins at the cut, never falls, and stays finite however long it lasts."""
    peak = low * more
    now, then = regrowth.rate(low, peak, seconds), regrowth.rate(low, peak, seconds + later)
    assert low * (1 - 1e-9) <= now <= then * (1 + 1e-9)
    assert math.isfinite(then)


def test_from_10_a_second_back_to_34_within_half_a_minute() -> None:
    """A quota that rises from 10 to 40 right after a cut is used to 85 % within 30 s."""
    state = replace(initial(10.0, 0.0), searching=False, low=8.5, peak=10.0, rate=8.5)
    assert quiet(state, 30).rate >= 34.0


# --- the bounds ---


@given(rate=rates, course=courses, ceiling=ceilings, replicas=st.integers(0, 40))
def test_the_rate_stays_within_its_bounds(
    rate: float, course: list[tuple[Report, float]], ceiling: float | None, replicas: int
) -> None:
    """Whatever is reported, the rate is finite, at least the floor and at most the ceiling."""
    for state in course_of(initial(rate, 0.0), course, ceiling, replicas):
        assert min(FLOOR, ceiling or FLOOR) <= state.rate <= min(HIGHEST, ceiling or HIGHEST)
        assert all(math.isfinite(value) for value in asdict(state).values())


@given(rate=rates, course=courses, report=reports, pause=st.floats(0.0, 100.0))
def test_only_throttles_lower_the_rate_and_a_step_at_most_doubles_it(
    rate: float, course: list[tuple[Report, float]], report: Report, pause: float
) -> None:
    """A report without throttles, after none were counted, never lowers the rate; none jumps."""
    state = [initial(rate, 0.0), *course_of(initial(rate, 0.0), course, None, 3)][-1]
    after = advance(state, report, state.updated + pause, None, 3)
    assert after.rate <= 2 * state.rate
    if not state.throttled and not report.throttled:
        assert after.rate >= state.rate


@given(rate=st.floats(4.0, 5000.0), course=courses)
def test_without_throttles_the_rate_never_falls(
    rate: float, course: list[tuple[Report, float]]
) -> None:
    """No pause, clock or load lowers a rate at which nothing was ever throttled."""
    unthrottled = [(replace(report, throttled=0, tokens=0), pause) for report, pause in course]
    rates_seen = [state.rate for state in course_of(initial(rate, 0.0), unthrottled, None, 4)]
    assert rates_seen == sorted(rates_seen)
    assert all(seen >= rate for seen in rates_seen)


def test_the_ceiling_binds_at_once_and_lets_go_at_once() -> None:
    """A lower ceiling bounds the rate with the next report; without one the rate grows again."""
    state = quiet(initial(10.0, 0.0), 10, ceiling=25.0)
    assert state.rate == 25.0
    assert quiet(state, 1, ceiling=5.0).rate == 5.0
    assert quiet(state, 4).rate == 100.0


def test_a_high_initial_rate_without_a_quota_is_never_touched() -> None:
    """At 10,000 a second and 300 in use, nothing throttled, the rate is the same after an hour."""
    state = initial(10_000.0, 0.0)
    for second in range(1, 3600):
        state = advance(state, Report(300.0, 300, 300, 0, 0), float(second), None, 1)
    assert state.rate == 10_000.0


@pytest.mark.parametrize("quota", [0.2, 0.5, 2.0])
def test_low_quotas_are_found(quota: float) -> None:
    """However low, the quota is used by at least a half, and the rate never sinks out of reach."""
    level, state, good = 1.0, initial(10.0, 0.0), 0
    for second in range(1, 1200):
        owed = state.rate * second % 1.0 + state.rate
        calls = max(1, int(owed)) if owed >= 1 else 0
        level = min(max(1.0, quota), level + quota)
        let = min(calls, int(level))
        level -= let
        state = advance(
            state, Report(WAITING, calls, let, calls - let, calls - let), float(second), None, 1
        )
        good += let if second > 120 else 0
    assert good >= 0.5 * quota * 1080
    assert state.rate <= 4 * quota


# --- throttles that don't follow the rate ---


def steadily_throttled(share: float, seconds: int, rate: float) -> list[float]:
    """The rate, while that share of all calls is throttled whatever the rate."""
    state, owed, seen = initial(rate, 0.0), 0.0, []
    for second in range(1, seconds):
        owed += share * state.rate
        bad = int(owed)
        owed -= bad
        calls = round(state.rate)
        state = advance(
            state, Report(WAITING, calls, calls - bad, bad, bad), float(second), None, 1
        )
        seen.append(state.rate)
    return seen


@pytest.mark.parametrize("share", [0.06, 0.1, 0.2])
@pytest.mark.parametrize("rate", [40.0, 300.0, 2000.0])
def test_throttles_at_any_rate_do_not_stop_the_worker(share: float, rate: float) -> None:
    """Where cuts change nothing the rate stops falling at a third at worst, and grows again."""
    seen = steadily_throttled(share, 90, rate)
    assert min(seen) >= 0.3 * rate
    assert seen[-1] >= rate


def gently_cut(proven: float = 40.0) -> SharedRate:
    """Right after a cut to 30 a second, when AWS let through so many."""
    return replace(
        initial(30.0, 0.0), searching=False, rate=30.0, low=30.0, peak=40.0, proven=proven
    )


def counting(state: SharedRate, calls: int, tokens: int) -> SharedRate:
    """An epoch in which so many tokens of so many calls were throttled."""
    return replace(state, calls=calls, successes=calls - tokens, throttled=tokens, tokens=tokens)


def test_what_is_throttled_below_what_was_let_through_is_believed() -> None:
    """Three tokens of 60 calls, then two of 60: five of 120 are throttled at any rate."""
    state = background.learnt(counting(gently_cut(), 60, 3), 3 / 60, called=30.0)
    assert background.share(state) == 0.0
    state = background.learnt(counting(state, 60, 2), 2 / 60, called=30.0)
    assert background.share(state) == pytest.approx(5 / 120)


def test_one_epoch_alone_is_never_believed() -> None:
    """Twenty throttled tokens in one epoch count as three of as many calls as these came in."""
    state = background.learnt(counting(gently_cut(), 200, 20), 0.1, called=30.0)
    assert (state.safe_throttled, state.safe_calls) == (3, 30)
    assert background.share(state) == 0.0


@pytest.mark.parametrize(("called", "throttled"), [(39.0, 0.05), (30.0, 0.4)])
def test_a_quota_is_not_taken_for_it(called: float, throttled: float) -> None:
    """Near what was let through, or with many throttled, an epoch tells of the quota alone."""
    state = counting(gently_cut(), 60, 3)
    assert background.learnt(state, throttled, called) == state


def test_many_clean_calls_end_the_belief() -> None:
    """At four of 100, eight are to be expected in 400 calls of 50 a sure one; 399 do not tell."""
    state = replace(gently_cut(), safe_calls=100, safe_throttled=4)
    assert background.share(state) == pytest.approx(0.04)
    assert background.counted(state, Report(WAITING, 399, 399)).safe_throttled == 4
    assert background.share(background.counted(state, Report(WAITING, 400, 400))) == 0.0


def test_a_share_that_is_believed_is_bounded() -> None:
    """More than three tenths is never believed: an outage of the quota goes on cutting the rate."""
    state = replace(gently_cut(), safe_calls=100, safe_throttled=90)
    assert background.share(state) == pytest.approx(0.3)


def test_a_higher_rate_that_is_throttled_more_ends_the_belief() -> None:
    """At 1.5 times the quota, 30 of 150 throttled where six are believed in: it is a quota."""
    state = replace(
        gently_cut(), rate=60.0, peak=40.0, low=40.0, safe_calls=100, safe_throttled=4, grown=20.0
    )
    for second in (1.0, 2.0):
        state = advance(state, Report(WAITING, 60, 45, 15, 15), second, None, 1)
        if state.rate < 60.0:
            break
    assert state.rate < 60.0
    assert background.share(state) == 0.0


def test_a_few_throttled_tokens_do_not_end_the_first_search() -> None:
    """At 20 a second, three of 40 throttled: the next rate is 40, and 18 a second are proven."""
    state = initial(20.0, 0.0)
    for second in (1.0, 2.0, 3.0):
        state = advance(state, Report(WAITING, 20, 18, 2, 2), second, None, 1)
        if state.rate > 20.0:
            break
    assert state.rate == 40.0
    assert state.before == pytest.approx(18.0)


# --- a quota that falls, and is soon as it was ---


def fallen(known: float) -> SharedRate:
    """At 4 a second after a cut, where so many were known to be let through before."""
    return replace(initial(4.0, 0.0), searching=False, low=4.0, peak=4.5, before=4.0, known=known)


def test_a_rate_that_fell_far_doubles_its_way_back() -> None:
    """From 4 a second, of 100 known: 8, 16, 32, 64 after eight seconds, at most 100 after ten."""
    state = fallen(known=100.0)
    seen = [state.rate]
    for _ in range(5):
        state = quiet(state, 2)
        seen.append(state.rate)
    assert seen[:5] == [4.0, 8.0, 16.0, 32.0, 64.0]
    assert seen[5] <= 1.6 * 64.0


def test_a_fall_to_half_grows_back_as_usual() -> None:
    """Where another user takes half of the quota, nobody rushes for it."""
    assert quiet(fallen(known=9.0), 4).rate <= 1.07 * 4.5


def test_a_way_back_in_vain_is_mostly_forgotten() -> None:
    """At 16 a second on the way to 100, most are throttled: 25 are known from now on."""
    state = replace(fallen(known=100.0), rate=16.0, recalling=True, grown=18.0)
    state = advance(state, Report(WAITING, 16, 5, 11, 11), 1.0, None, 1)
    assert state.rate <= 8.0
    assert (state.known, state.recalling) == (25.0, False)


def test_the_first_burst_is_not_taken_for_the_quota() -> None:
    """While the first search still empties AWS's bucket, only the rate before it is known."""
    assert quiet(initial(10.0, 0.0), 4).known == 10.0


# --- keeping it ---


@given(rate=rates, course=courses)
def test_what_is_stored_comes_back(rate: float, course: list[tuple[Report, float]]) -> None:
    """A state survives its mapping, with members that another version added."""
    state = [initial(rate, 0.0), *course_of(initial(rate, 0.0), course, None, 2)][-1]
    assert restored(asdict(state) | {"later": [1]}) == state


@pytest.mark.parametrize(
    "stored",
    [
        None,
        1,
        "rate",
        [1],
        {},
        {"rate": "fast"},
        {"rate": math.nan},
        {"rate": math.inf},
        {"rate": -1.0},
        {"rate": True},
        {"rate": None},
        {"rate": 5.0, "searching": "yes"},
        {"rate": 5.0, "calls": 1.5},
        {"rate": 5.0, "throttled": -1},
        {"rate": 5.0, "grown": []},
        {"rate": 5.0, "settling": True, "epoch_began": 1e18},
    ],
)
def test_nonsense_is_no_state(stored: object) -> None:
    """Of what no version could have written, nothing is taken over."""
    assert restored(stored) is None


@given(
    st.dictionaries(
        st.sampled_from(sorted(asdict(initial(1.0, 0.0)))),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    )
)
def test_any_mapping_gives_a_state_that_works(mapping: dict[str, object]) -> None:
    """Whatever is stored, the state that comes of it can be advanced."""
    state = restored(mapping) or initial(7.0, 0.0)
    assert FLOOR <= advance(state, Report(), 1.0, None).rate <= 2 * HIGHEST


def test_a_clock_that_was_set_back_leaves_the_rate() -> None:
    """A state of hours ahead, by a database's clock that was off, goes on at its rate."""
    stored = asdict(replace(initial(40.0, 18_000.0), searching=False))
    state = restored(stored)
    assert state is not None
    assert advance(state, Report(), 0.0, None).rate == 40.0


def test_missing_members_take_their_defaults() -> None:
    """An older version that stored the rate alone hands it on."""
    state = restored({"rate": 33, "epoch_began": 4})
    assert state is not None
    assert state.rate == 33.0


@given(rate=rates, course=courses, away=st.floats(60.0, 1e6))
def test_a_rest_changes_nothing(
    rate: float, course: list[tuple[Report, float]], away: float
) -> None:
    """After an hour without any replica the rate is what it was, and no epoch is judged by it."""
    state = [initial(rate, 0.0), *course_of(initial(rate, 0.0), course, None, 2)][-1]
    after = advance(state, Report(WAITING, 1, 1, 0, 0), state.updated + away, None, 2)
    assert after.rate == state.rate
    assert after.epoch_began == after.updated


@given(rate=rates, course=courses, back=st.floats(0.001, 1e6))
def test_a_clock_set_back_changes_nothing(
    rate: float, course: list[tuple[Report, float]], back: float
) -> None:
    """A database that takes over with a slower clock begins a new epoch at the same rate."""
    state = [initial(rate, 1e7), *course_of(initial(rate, 1e7), course, None, 2)][-1]
    assume(state.updated - back < state.updated)
    after = advance(state, Report(WAITING, 1, 1, 0, 0), state.updated - back, None, 2)
    assert after.rate == state.rate
