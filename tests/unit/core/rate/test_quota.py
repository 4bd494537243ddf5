"""The shared rate: constants computed by hand, and properties over any course of reports."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.core.rate.fleet import Report
from worker.core.rate.quota import (
    FLOOR,
    GAIN,
    HIGHEST,
    LAW,
    advance,
    initial,
    own,
    restored,
    stored,
)
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


def clean(rate: float) -> Report:
    """A second of one replica that uses all of a rate."""
    return Report(WAITING, round(rate), round(rate))


def known(rate: float) -> SharedRate:
    """A rate at a quota that was found: the first search is over."""
    return replace(initial(rate, 0.0), searching=False, proven=rate)


def quiet(state: SharedRate, seconds: int) -> SharedRate:
    """A lonely replica uses the rate for a while, and nothing is throttled."""
    for _ in range(seconds):
        state = advance(state, clean(state.rate), state.updated + 1.0, 1)
    return state


def course_of(
    state: SharedRate, course: list[tuple[Report, float]], replicas: int
) -> list[SharedRate]:
    """The states that a course of reports leads to."""
    states = []
    for report, pause in course:
        state = advance(state, report, state.updated + pause, replicas)
        states.append(state)
    return states


def reported(
    state: SharedRate, calls: int, throttled: int, tokens: int | None = None
) -> SharedRate:
    """A second later, a lonely replica has made so many calls."""
    told = Report(
        WAITING, calls, calls - throttled, throttled, throttled if tokens is None else tokens
    )
    return advance(state, told, state.updated + 1.0, 1)


# --- the search ---


def test_the_rate_doubles_every_two_seconds_while_it_is_used() -> None:
    """From 10 a second, unthrottled: 20 after two seconds, 320 after ten."""
    assert quiet(initial(10.0, 0.0), 2).rate == pytest.approx(20.0)
    assert quiet(initial(10.0, 0.0), 10).rate == pytest.approx(320.0)


def test_a_rate_of_which_little_is_used_does_not_grow() -> None:
    """At 100 a second and ten calls the rate stays for as long as that lasts."""
    state = initial(100.0, 0.0)
    for _ in range(100):
        state = reported(state, 10, 0)
    assert state.rate == 100.0


def test_successes_count_by_replica() -> None:
    """One of four replicas reporting 25 calls a second speaks for 100 a second."""
    state = initial(100.0, 0.0)
    for step in range(1, 9):
        state = advance(state, Report(WAITING, 25, 25, seconds=1.0), step / 4, 4)
    assert state.called == pytest.approx(100.0)
    assert state.rate == pytest.approx(200.0)


def test_a_report_of_several_seconds_is_no_higher_rate() -> None:
    """A replica that was held up for ten seconds and reports 200 calls has made 20 a second."""
    state = advance(initial(100.0, 0.0), Report(20.0, 200, 200, seconds=10.0), 1.0, 1)
    assert state.called == pytest.approx(20.0)
    assert state.rate == 100.0


@pytest.mark.parametrize("throttled", [1, 4])
def test_a_few_throttles_do_not_end_a_search_that_calls_follow(throttled: int) -> None:
    """At 20 a second, one or four of 20 calls throttled: the search goes on."""
    state = reported(initial(20.0, 0.0), 20, throttled)
    assert state.searching
    assert state.rate > 20.0


def test_a_search_that_calls_cannot_follow_ends_where_they_are() -> None:
    """At 1,000 a second, 100 called and a tenth of them throttled: 100 a second."""
    state = reported(initial(1000.0, 0.0), 100, 10)
    assert (state.searching, state.rate) == (False, 100.0)
    assert reported(initial(1000.0, 0.0), 100, 4).rate == 1000.0, "so few may be anything"


# --- a jump ---


def test_a_rate_that_is_mostly_throttled_jumps_to_the_successes() -> None:
    """At 40 a second, 25 let through and 15 not: 25; and back to 30 once nothing is throttled."""
    state = reported(known(40.0), 40, 15)
    assert state.rate == 25.0
    assert state.peak == pytest.approx(1.2 * 25)
    assert quiet(state, 12).rate == pytest.approx(30.0, rel=0.15)


def test_a_jump_halves_the_rate_at_most() -> None:
    """What was counted in one second is partly from before the quota fell."""
    assert reported(known(40.0), 40, 36).rate == 20.0


def test_while_a_jump_settles_what_was_called_before_does_not_count_again() -> None:
    """Throttles of calls made before the replicas knew of it change nothing."""
    state = reported(known(40.0), 40, 15)
    assert advance(state, Report(WAITING, 20, 8, 12, 12), 1.5, 1).rate == state.rate


def test_repeated_jumps_do_not_go_below_what_is_let_through() -> None:
    """A quota of 10, called at 40 and then as leased: the rate ends at 10, and not lower."""
    state = known(40.0)
    for _ in range(12):
        calls = round(state.rate)
        state = reported(state, calls, max(0, calls - 10))
    assert 9.5 <= state.rate <= 12.0


def test_three_tokens_are_no_measurement() -> None:
    """However often they are throttled: a jump needs four, of which each is tried again."""
    assert reported(known(40.0), 40, 15, tokens=3).peak == 0.0
    assert reported(known(40.0), 40, 15, tokens=4).peak == pytest.approx(30.0)


# --- a correction ---


def test_a_small_share_lowers_the_rate_in_proportion() -> None:
    """One throttled call, while replicas slow down, at 100 a second: a hundredth of the gain."""
    state = reported(known(100.0), 90, 1)
    assert state.rate == pytest.approx(100.0 * math.exp(-GAIN / 100))
    assert not state.searching


def test_a_correction_does_not_go_below_what_is_let_through() -> None:
    """At 100 a second, eight throttled: not below the 92 that were let through."""
    assert reported(known(100.0), 100, 8).rate == pytest.approx(92.0)


def test_growth_doubles_while_nothing_is_throttled() -> None:
    """Slow at first, so that a quota is exceeded by little; after 20 s the rate has doubled."""
    assert quiet(known(100.0), 2).rate <= 101.5
    assert quiet(known(100.0), 20).rate >= 200.0
    state = reported(quiet(known(100.0), 14), 100, 1)
    assert quiet(state, 2).rate <= 1.015 * state.rate, "a throttle ends that"


def test_a_quota_that_rises_fourfold_is_used_within_half_a_minute() -> None:
    """From 10 to 34 a second in 30 s, from the slowest growth."""
    assert quiet(known(10.0), 30).rate >= 34.0


# --- throttles that are not the quota's ---


def throttled_at_any_rate(share: float, seconds: int, state: SharedRate) -> list[float]:
    """The rate, while that share of all calls is throttled whatever the rate."""
    owed, seen = 0.0, []
    for _ in range(seconds):
        owed += share * state.rate
        bad = int(owed)
        owed -= bad
        state = reported(state, round(state.rate), bad)
        seen.append(state.rate)
    return seen


@pytest.mark.parametrize("share", [0.02, 0.06, 0.1])
@pytest.mark.parametrize("rate", [40.0, 300.0, 2000.0])
def test_throttles_at_any_rate_do_not_stop_the_worker(share: float, rate: float) -> None:
    """Corrected to two fifths in vain, the rate is searched again, and so comes back each time."""
    seen = throttled_at_any_rate(share, 300, replace(known(rate), settled=-100.0))
    assert min(seen) >= 0.35 * rate
    if share > 0.05:
        assert max(seen[150:]) >= 0.9 * rate


def test_right_after_a_jump_corrections_only_follow_it() -> None:
    """What was let through at a rate before the quota fell is no reason to search."""
    state = reported(replace(known(40.0), settled=0.0), 40, 3)
    for _ in range(5):
        state = reported(state, 14, 1)
    assert not state.searching
    assert state.proven <= 20.0


# --- an outage ---


def test_a_stop_of_all_calls_is_no_quota() -> None:
    """While AWS lets nothing through the rate falls to an eighth of what it was, no further."""
    state = known(40.0)
    for _ in range(600):
        calls = max(1, round(state.rate))
        state = reported(state, calls, calls)
    assert state.rate >= 0.12 * 40
    assert state.proven == 40.0


def test_after_a_stop_the_rate_is_searched_at_once() -> None:
    """From 2 a second back to 40 within 20 s."""
    state = replace(known(40.0), rate=2.0)
    assert quiet(state, 20).rate >= 40.0


def test_a_fall_to_half_is_no_stop() -> None:
    """Where another user takes half of the quota, nobody rushes for it."""
    assert not quiet(replace(known(40.0), rate=20.0), 4).searching


# --- the bounds ---


@given(rate=rates, course=courses, replicas=st.integers(0, 40))
def test_the_rate_stays_within_its_bounds(
    rate: float, course: list[tuple[Report, float]], replicas: int
) -> None:
    """Whatever is reported, the rate is finite, and between the floor and the highest."""
    for state in course_of(initial(rate, 0.0), course, replicas):
        assert FLOOR <= state.rate <= HIGHEST
        assert all(math.isfinite(value) for value in asdict(state).values())


@given(rate=rates, course=courses, report=reports, pause=st.floats(0.0, 100.0))
def test_only_throttles_lower_the_rate_and_a_step_at_most_doubles_it(
    rate: float, course: list[tuple[Report, float]], report: Report, pause: float
) -> None:
    """A report without throttles, after none were counted, never lowers the rate; none jumps."""
    state = [initial(rate, 0.0), *course_of(initial(rate, 0.0), course, 3)][-1]
    after = advance(state, report, state.updated + pause, 3)
    assert after.rate <= 2 * state.rate * (1 + 1e-9)
    if not state.throttled and not report.throttled:
        assert after.rate >= state.rate


@given(rate=st.floats(4.0, 5000.0), course=courses)
def test_without_throttles_the_rate_never_falls(
    rate: float, course: list[tuple[Report, float]]
) -> None:
    """No pause, clock or load lowers a rate at which nothing was ever throttled."""
    unthrottled = [(replace(report, throttled=0, tokens=0), pause) for report, pause in course]
    rates_seen = [state.rate for state in course_of(initial(rate, 0.0), unthrottled, 4)]
    assert rates_seen == sorted(rates_seen)
    assert all(seen >= rate for seen in rates_seen)


def test_a_high_initial_rate_without_a_quota_is_never_touched() -> None:
    """At 10,000 a second and 300 in use, nothing throttled, the rate is the same after an hour."""
    state = initial(10_000.0, 0.0)
    for second in range(1, 3600):
        state = advance(state, Report(300.0, 300, 300, 0, 0), float(second), 1)
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
            state, Report(WAITING, calls, let, calls - let, calls - let), float(second), 1
        )
        good += let if second > 120 else 0
    assert good >= 0.5 * quota * 1080
    assert state.rate <= 4 * quota


# --- keeping it ---


@given(rate=rates, course=courses)
def test_what_is_stored_comes_back(rate: float, course: list[tuple[Report, float]]) -> None:
    """A state survives its mapping, with members that another version added."""
    state = [initial(rate, 0.0), *course_of(initial(rate, 0.0), course, 2)][-1]
    assert restored(stored(state) | {"later": [1]}) == state


@pytest.mark.parametrize(
    "document",
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
        {"rate": 5.0, "law": {"version": LAW, "calls": "1"}},
        {"rate": 5.0, "law": {"version": LAW, "throttled": -1}},
        {"rate": 5.0, "law": {"version": LAW, "growth": []}},
    ],
)
def test_nonsense_is_no_state(document: object) -> None:
    """Of what no version could have written, nothing is taken over."""
    assert restored(document) is None


@given(
    st.dictionaries(
        st.sampled_from(sorted(asdict(initial(1.0, 0.0)))),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    )
)
def test_any_mapping_gives_a_state_that_works(mapping: dict[str, object]) -> None:
    """Whatever is stored, the state that comes of it can be advanced."""
    law = {"rate": 3.0, "law": {"version": LAW, **mapping}}
    assert restored(mapping) is None or "rate" in mapping
    state = restored(law) or initial(7.0, 0.0)
    assert FLOOR <= advance(state, Report(), 1.0).rate <= 2 * HIGHEST


def test_a_clock_that_was_set_back_leaves_the_rate() -> None:
    """A state of hours ahead, by a database's clock that was off, goes on at its rate."""
    state = restored(stored(replace(initial(40.0, 18_000.0), searching=False)))
    assert state is not None
    assert advance(state, Report(), 0.0).rate == 40.0


def test_of_another_laws_state_the_rate_is_kept() -> None:
    """Its counts mean something else; whether it was a search does not."""
    older = {"rate": 33, "searching": False, "calls": 900, "peak": 60, "settled": 1e18}
    assert restored(older) == SharedRate(rate=33.0, updated=0.0, searching=False)
    assert not own(older)
    assert own(stored(initial(1.0, 0.0)))


def test_an_older_version_finds_only_what_it_understands() -> None:
    """Its counts were whole numbers, and its epoch has just begun: it neither falls nor decides."""
    state = replace(known(40.0), updated=9.0, calls=8.37, throttled=0.4)
    kept = {name: each for name, each in stored(state).items() if name != "law"}
    assert kept == {"rate": 40.0, "updated": 9.0, "searching": False, "epoch_began": 9.0}


@given(rate=rates, course=courses, away=st.floats(200.0, 1e6))
def test_after_a_rest_old_counts_say_nothing(
    rate: float, course: list[tuple[Report, float]], away: float
) -> None:
    """Minutes without any replica leave the rate, and nothing of what was counted before."""
    state = [initial(rate, 0.0), *course_of(initial(rate, 0.0), course, 2)][-1]
    after = advance(state, Report(WAITING, 0, 0, seconds=1.0), state.updated + away, 2)
    assert after.calls < 0.001
    assert state.rate <= after.rate <= 2 * state.rate


@given(rate=rates, course=courses, back=st.floats(0.001, 1e6))
def test_a_clock_set_back_does_not_wait_for_what_it_knew(
    rate: float, course: list[tuple[Report, float]], back: float
) -> None:
    """A database that takes over with a slower clock goes on at the same rate, and at once."""
    state = [initial(rate, 1e7), *course_of(initial(rate, 1e7), course, 2)][-1]
    assume(state.updated - back < state.updated)
    after = advance(state, Report(), state.updated - back, 2)
    assert after.settled <= after.updated
