"""The simulator's hidden quota and its latency."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lab.simulator.latency import Latency
from worker.lab.simulator.quota import UNLIMITED, Quota, TokenBucket

gaps = st.lists(st.floats(0, 5), min_size=1, max_size=200)


def test_a_bucket_lets_through_its_burst_and_then_its_rate() -> None:
    """At 2 a second and a burst of 3: three at once, then one every half second."""
    bucket = TokenBucket(Quota(rate=2, burst=3), now_s=100)

    assert [bucket.take(100) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(100.4), bucket.take(100.5), bucket.take(100.6)] == [False, True, False]


def test_a_pause_saves_up_no_more_than_the_burst() -> None:
    """However long nobody calls, only the burst passes at once afterwards."""
    bucket = TokenBucket(Quota(rate=10, burst=3), now_s=0)

    assert sum(bucket.take(1000) for _ in range(50)) == 3


@given(rate=st.floats(0.1, 500), burst=st.floats(1, 500), waits=gaps)
def test_no_span_lets_through_more_than_burst_and_rate_allow(
    rate: float, burst: float, waits: list[float]
) -> None:
    """However calls are spaced, at most burst + rate x time get through."""
    bucket = TokenBucket(Quota(rate, burst), now_s=0)
    now, taken = 0.0, 0
    for wait in waits:
        now += wait
        taken += bucket.take(now)

    assert taken <= burst + rate * now + 1e-6


@given(rate=st.floats(1, 500), waits=st.lists(st.floats(1, 5), max_size=100))
def test_who_keeps_to_the_rate_is_never_refused(rate: float, waits: list[float]) -> None:
    """Calls that come no faster than the rate all get through."""
    bucket = TokenBucket(Quota(rate, 1), now_s=0)
    now = 0.0
    for wait in waits:
        now += wait * (1 + 1e-9) / rate
        assert bucket.take(now)


def test_without_a_quota_all_calls_get_through() -> None:
    """No quota refuses nothing."""
    bucket = TokenBucket(UNLIMITED, now_s=0)

    assert all(bucket.take(0) for _ in range(10_000))


def test_a_change_of_quota_takes_effect_at_once_without_a_free_burst() -> None:
    """A new quota holds from the next call; what was spent stays spent."""
    bucket = TokenBucket(Quota(rate=1, burst=1), now_s=0)
    assert bucket.take(0)

    bucket.change(Quota(rate=10, burst=10), now_s=0)

    assert not bucket.take(0)
    assert [bucket.take(0.2), bucket.take(0.2), bucket.take(0.2)] == [True, True, False]


def test_a_quota_put_on_an_unlimited_endpoint_starts_full() -> None:
    """The first quota gives its whole burst, and lifting it again refuses nothing."""
    bucket = TokenBucket(UNLIMITED, now_s=0)

    bucket.change(Quota(rate=1, burst=2), now_s=5)
    assert [bucket.take(5) for _ in range(3)] == [True, True, False]
    bucket.change(UNLIMITED, now_s=6)
    assert all(bucket.take(6.1) for _ in range(100))


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    """Time that runs backwards neither fills nor empties the bucket."""
    bucket = TokenBucket(Quota(rate=1, burst=1), now_s=10)
    assert bucket.take(10)

    assert not bucket.take(5)
    assert not bucket.take(10.5)
    assert bucket.take(11)


@pytest.mark.parametrize(
    ("rate", "burst", "quota"),
    [
        (None, None, UNLIMITED),
        (40, None, Quota(40, 40)),
        (0.5, None, Quota(0.5, 1)),
        (40, 8, Quota(40, 8)),
        (0, 0, Quota(0, 0)),
    ],
)
def test_a_burst_that_is_left_out_is_one_seconds_worth(
    rate: float | None, burst: float | None, quota: Quota
) -> None:
    """Without a burst a second's calls, at least one, pass at once; without a rate, all."""
    assert Quota.of(rate, burst) == quota


@pytest.mark.parametrize(
    ("rate", "burst", "named"),
    [
        (-1, 1, "rate"),
        (math.nan, 1, "rate"),
        (math.inf, 1, "rate"),
        (1, 0.5, "burst"),
        (1, -1, "burst"),
        (1, math.nan, "burst"),
        (1, math.inf, "burst"),
        (None, 5, "rate"),
        (-1, None, "rate"),
    ],
)
def test_a_quota_that_makes_no_sense_is_refused_by_name(
    rate: float | None, burst: float | None, named: str
) -> None:
    """A negative, endless or missing figure is refused, and the error says which."""
    with pytest.raises(ValueError, match=named):
        Quota.of(rate, burst)


@pytest.mark.parametrize(
    ("text", "mean_s", "spread_s"),
    [
        ("50ms", 0.05, 0),
        ("0.5s", 0.5, 0),
        ("50ms±20ms", 0.05, 0.02),
        ("50ms+-20ms", 0.05, 0.02),
        ("1s ± 200ms", 1, 0.2),
        ("0ms", 0, 0),
    ],
)
def test_a_latency_is_read_as_it_is_written(text: str, mean_s: float, spread_s: float) -> None:
    """A latency is a time with its unit, and perhaps a spread."""
    latency = Latency.parse(text)

    assert (latency.mean_s, latency.spread_s) == pytest.approx((mean_s, spread_s))


@pytest.mark.parametrize("text", ["", "50", "ms", "-5ms", "5m", "10ms±20ms", "5ms±", "2000000s"])
def test_a_latency_that_cannot_be_read_is_refused(text: str) -> None:
    """A latency without a unit, or with a spread beyond itself, is refused with an example."""
    with pytest.raises(ValueError, match="latency"):
        Latency.parse(text)


@given(chance=st.floats(0, 1))
def test_a_latency_stays_within_its_spread(chance: float) -> None:
    """Every draw lies between mean minus spread and mean plus spread."""
    assert 0.03 - 1e-9 <= Latency(0.05, 0.02).draw(chance) <= 0.07 + 1e-9


def test_a_latency_is_drawn_evenly() -> None:
    """Even chances give even latencies, with the mean in the middle."""
    latency = Latency(0.05, 0.02)

    assert [latency.draw(c) for c in (0, 0.25, 0.5, 1)] == pytest.approx([0.03, 0.04, 0.05, 0.07])
