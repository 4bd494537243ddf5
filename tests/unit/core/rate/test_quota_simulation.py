"""The shared rate in virtual time: many replicas against one hidden quota, over several seeds."""

from __future__ import annotations

import statistics
from functools import cache

import pytest

from tests.simulation.runs import Run
from tests.simulation.tables import throttled

SEEDS = range(6)


@cache
def share_throttled(scheme: str, replicas: int) -> float:
    """What a scheme comes to."""
    return throttled(scheme, replicas, seed=7)


# --- the table ---

FIELD = {
    ("full-jitter backoff only, up to 20 s", 1): 0.52,
    ("full-jitter backoff only, up to 20 s", 4): 0.67,
    ("full-jitter backoff only, up to 20 s", 16): 0.80,
    ("static rate, 1.4 times too high", 1): 0.29,
    ("static rate, 1.4 times too high", 4): 0.29,
    ("static rate, 1.4 times too high", 16): 0.29,
    ("AIMD per replica", 1): 0.003,
    ("AIMD per replica", 4): 0.05,
    ("AIMD per replica", 16): 0.33,
}


@pytest.mark.parametrize(("scheme", "replicas"), FIELD)
def test_other_ways_come_to_what_is_known_of_them(scheme: str, replicas: int) -> None:
    """The simulation agrees with independent figures for the same quota and fleet."""
    known = FIELD[scheme, replicas]
    assert share_throttled(scheme, replicas) == pytest.approx(known, rel=0.3, abs=0.01)


@pytest.mark.parametrize("replicas", [1, 4, 16])
def test_the_shared_rate_does_not_depend_on_how_many_share_it(replicas: int) -> None:
    """At most 2 % of the calls are throttled with one, four or sixteen replicas."""
    assert share_throttled("shared rate (ours)", replicas) <= 0.02


# --- what is promised ---


@pytest.mark.parametrize("seed", SEEDS)
def test_four_busy_replicas_use_the_quota(seed: int) -> None:
    """At 40/s, after 30 s of search: 97 % used, 1.3 % throttled at most, all replicas alike."""
    market = Run(seed=seed).until(150).market
    assert market.used(30, 150) >= 0.97
    assert market.throttled_share(30, 150) <= 0.013
    assert market.fairness(30, 150) >= 0.99


@pytest.mark.parametrize("seed", SEEDS)
def test_eight_replicas_share_two_calls_a_second(seed: int) -> None:
    """At 2/s with single permits: at least 90 % used, all replicas alike, hardly any throttled."""
    market = Run(replicas=8, rate=2.0, seed=seed).until(150).market
    assert market.used(30, 150) >= 0.9
    assert market.fairness(30, 150) >= 0.97
    assert market.throttled_share(30, 150) <= 0.025


@cache
def stepped(seed: int) -> Run:
    """40/s, 10/s from 60 s on, 40/s again from 100 s on."""
    return Run(seed=seed).until(60).change(10).until(100).change(40).until(130)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drop_to_a_quarter_is_followed(seed: int) -> None:
    """At most a quarter of the calls throttled in the first 10 s, and the low quota is used."""
    market = stepped(seed).market
    assert market.throttled_share(60, 70) <= 0.25
    assert market.successes(70, 100) >= 0.9 * 300


def test_after_a_drop_throttles_are_rare_again() -> None:
    """From 20 s on under 3 % of the calls are throttled."""
    shares = [stepped(seed).market.throttled_share(80, 100) for seed in SEEDS]
    assert statistics.fmean(shares) < 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rise_is_used_within_half_a_minute(seed: int) -> None:
    """Within 30 s of the rise there are two seconds at 85 % of the new quota or more."""
    market = stepped(seed).market
    assert any(market.successes(at, at + 2) >= 0.85 * 80 for at in range(100, 129))


def test_a_quota_that_falls_and_rises_is_used() -> None:
    """25/s, 8/s, 40/s: more than 77 % of the last is used 25 to 30 s after the rise."""
    used = []
    for seed in SEEDS:
        run = Run(rate=25.0, seed=seed).until(60).change(8).until(90).change(40).until(120)
        used.append(run.market.used(115, 120))
    assert statistics.fmean(used) >= 0.77


@pytest.mark.parametrize("seed", SEEDS)
def test_the_share_of_a_dead_replica_is_taken_over(seed: int) -> None:
    """Five seconds after one of four died the rest use the whole quota."""
    market = Run(seed=seed).until(60).kill(seed % 4).until(75).market
    assert market.used(65, 75) >= 0.95


@pytest.mark.parametrize("seed", SEEDS)
def test_demand_that_comes_and_goes_finds_the_rate_where_it_was(seed: int) -> None:
    """After half a minute of rest the quota is used from the second second on."""
    run = Run(seed=seed, busy=lambda _replica, now: now % 60 < 30).until(90)
    assert run.market.used(62, 90) >= 0.95
    assert run.market.throttled_share(60, 90) <= 0.03


@pytest.mark.parametrize("seed", SEEDS)
def test_one_busy_replica_is_lent_what_the_idle_do_not_need(seed: int) -> None:
    """With three of four idle, the fourth uses the quota alone."""
    run = Run(seed=seed, busy=lambda replica, now: replica == 0 or now < 60).until(90)
    assert run.market.used(65, 90) >= 0.95


@pytest.mark.parametrize("seed", SEEDS)
def test_an_outside_user_is_given_way_to(seed: int) -> None:
    """Where others take half of the quota, the rate follows down to the other half."""
    run = Run(seed=seed).until(60).outsider(20.0, until=120.0).until(120)
    assert 0.35 <= run.market.used(80, 120) <= 0.65
    assert run.market.throttled_share(80, 120) <= 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_a_generous_quota_is_found_in_seconds(seed: int) -> None:
    """From 10/s, a quota of 400/s is used to 85 % within 20 s."""
    market = Run(rate=400.0, seed=seed).until(22).market
    assert market.successes(17, 22) >= 0.85 * 400 * 5


def test_no_quota_and_a_high_initial_rate_are_as_fast_as_no_pacing() -> None:
    """At 10,000/s nothing waits: within 3 % of the calls that are made without any pacing."""
    made = {
        scheme: Run(scheme, 2, rate=None, workers=4, initial=10_000.0)
        .until(10)
        .market.successes(1, 10)
        for scheme in ("shared", "jitter")
    }
    assert made["shared"] >= 0.97 * made["jitter"]


def test_the_ceiling_bounds_the_fleet() -> None:
    """With a ceiling of 20/s below the quota, 20/s are called, and no more."""
    market = Run(ceiling=20.0).until(60).market
    assert 0.97 * 20 <= market.successes(20, 60) / 40 <= 1.01 * 20


# --- throttles that don't follow the rate ---


def steady(seed: int, share: float, times: int, initial: float) -> Run:
    """No quota; a share of the tokens is throttled so many times each, whatever the rate."""
    return Run(
        rate=None,
        seed=seed,
        workers=3,
        initial=initial,
        mix=lambda draw: times if draw < share else 0,
    ).until(90)


@pytest.mark.parametrize(("share", "times"), [(0.05, 1), (0.1, 1), (0.1, 2)])
@pytest.mark.sampled(3)
def test_unlucky_tokens_do_not_stop_the_rest(share: float, times: int) -> None:
    """From a high rate no fleet falls below an eightieth of its pace, and most get it back."""
    pace = 4 * 3 / 0.05
    fleets = [steady(seed, share, times, initial=10_000.0) for seed in SEEDS]
    assert min(rate for run in fleets for _, rate in run.trace) >= pace / 80
    late = [run.market.successes(60, 90) / 30 for run in fleets]
    assert statistics.median(late) >= 0.4 * pace


@pytest.mark.parametrize("share", [0.02, 0.04])
@pytest.mark.sampled(2)
def test_few_unlucky_tokens_cost_no_more_than_half_a_minute(share: float) -> None:
    """From a high rate, with one token in fifty or in 25 throttled once, the pace comes back."""
    late = [
        steady(seed, share, 1, initial=10_000.0).market.successes(60, 90) / 30 for seed in SEEDS
    ]
    assert statistics.median(late) >= 0.7 * 240


def test_unlucky_tokens_do_not_stop_the_search() -> None:
    """From 10/s, with a tenth of the tokens throttled twice, most fleets find their way up."""
    late = [steady(seed, 0.1, 2, initial=10.0).market.successes(60, 90) / 30 for seed in SEEDS]
    assert statistics.median(late) >= 50.0
    assert min(late) >= 1.0


@pytest.mark.parametrize("share", [0.01, 0.04, 0.08])
@pytest.mark.sampled(3)
def test_unlucky_tokens_do_not_hold_the_first_search_back(share: float) -> None:
    """From 10/s with tokens throttled once, most fleets are near their pace within 40 s."""
    late = [steady(seed, share, 1, initial=10.0).market.successes(20, 40) / 20 for seed in SEEDS]
    assert statistics.median(late) >= 0.6 * 240


# --- a quota that falls, and is soon as it was ---


@pytest.mark.parametrize("share", [0.0, 0.04])
@pytest.mark.parametrize(("quota", "seconds"), [(5.0, 2), (5.0, 4), (20.0, 3)])
@pytest.mark.sampled(3)
def test_a_short_fall_is_soon_over(quota: float, seconds: int, share: float) -> None:
    """After some seconds of hardly any quota, 75/s are called again within half a minute."""
    end = 40 + seconds
    for seed in SEEDS:
        run = Run(
            replicas=3,
            rate=None,
            seed=seed,
            workers=3,
            mix=lambda draw: 1 if draw < share else 0,
        ).until(40)
        market = run.change(quota).until(end).change(1e6).until(end + 30).market
        assert any(market.successes(at, at + 3) >= 3 * 75 for at in range(end, end + 28))


@pytest.mark.parametrize("replicas", [1, 4])
@pytest.mark.parametrize("quota", [3.0, 5.0, 8.0])
def test_a_low_quota_is_never_taken_for_bad_luck(quota: float, replicas: int) -> None:
    """The few throttles of a low quota stay few: at most 5 % of the calls."""
    for seed in SEEDS:
        market = Run(rate=quota, replicas=replicas, seed=seed).until(150).market
        assert market.throttled_share(30, 150) <= 0.05
