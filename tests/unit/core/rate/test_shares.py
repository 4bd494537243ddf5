"""Shares of a rate: by hand, and what holds of any fleet."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.rate.shares import LEAST, Claim, share, singly

WAITING = math.inf
needs = st.just(0.0) | st.just(WAITING) | st.floats(0.0, 500.0)
fleets = st.lists(needs, min_size=1, max_size=20)
rates = st.floats(0.1, 10_000.0)


def rounds(rate: float, fleet: list[float], granted: list[float], turns: int = 3) -> list[float]:
    """What a fleet is granted after each has renewed a few times, one after the other."""
    granted = list(granted)
    for _ in range(turns):
        for mine, need in enumerate(fleet):
            others = [
                Claim(other, had)
                for who, (other, had) in enumerate(zip(fleet, granted, strict=True))
                if who != mine
            ]
            granted[mine] = share(rate, Claim(need, granted[mine]), others)
    return granted


def test_alone_a_replica_has_all() -> None:
    """A single replica has the whole rate, whatever it needs."""
    assert share(40.0, Claim(WAITING, 0.0), []) == 40.0
    assert share(40.0, Claim(0.0, 0.0), []) == 40.0


def test_the_busy_share_alike() -> None:
    """Four replicas with tokens waiting have a quarter each."""
    assert rounds(40.0, [WAITING] * 4, [0.0] * 4) == pytest.approx([10.0] * 4)


def test_what_one_does_not_need_is_lent_on() -> None:
    """Needs of 2, 8 and 20, and one without bound, at 40: 2, 8, and what is left in halves."""
    assert rounds(40.0, [2.0, 8.0, 20.0, WAITING], [0.0] * 4) == pytest.approx([2, 8, 15, 15])


def test_what_nobody_needs_is_spread_evenly() -> None:
    """Of 40, where 4 are needed, each of four replicas has 9 more than it needs."""
    assert rounds(40.0, [4.0, 0.0, 0.0, 0.0], [0.0] * 4) == pytest.approx(
        [4 + 34.5 / 4, *[0.5 + 34.5 / 4] * 3]
    )


def test_an_idle_replica_keeps_a_little() -> None:
    """Beside three busy ones an idle one keeps a twentieth of an even share."""
    granted = rounds(40.0, [0.0, WAITING, WAITING, WAITING], [0.0] * 4)
    assert granted == pytest.approx([0.5, *[39.5 / 3] * 3])


def test_a_newcomer_waits_until_others_have_given_back() -> None:
    """Where one has all of the rate, a second gets the least until the first renews."""
    assert share(40.0, Claim(WAITING, 0.0), [Claim(WAITING, 40.0)]) == LEAST * 20.0
    assert share(40.0, Claim(WAITING, 40.0), [Claim(WAITING, 1.0)]) == 20.0
    assert share(40.0, Claim(WAITING, 1.0), [Claim(WAITING, 20.0)]) == 20.0


@given(rate=rates, fleet=fleets)
def test_all_of_the_rate_is_granted_and_no_more(rate: float, fleet: list[float]) -> None:
    """Once all have renewed, the shares come to the rate."""
    assert sum(rounds(rate, fleet, [0.0] * len(fleet))) == pytest.approx(rate)


@given(rate=rates, fleet=fleets, before=st.floats(0.0, 20_000.0), change=st.floats(0.01, 3.0))
def test_after_a_change_the_sum_is_right_within_one_round(
    rate: float, fleet: list[float], before: float, change: float
) -> None:
    """However the rate and the fleet were, after two renewals each the sum is at most the rate."""
    granted = rounds(rate * change, fleet, [before / len(fleet)] * len(fleet))
    assert sum(rounds(rate, fleet, granted, turns=2)) <= rate * (1 + 1e-9)


@given(rate=rates, fleet=fleets, granted=st.data())
def test_a_renewal_never_takes_what_others_have(
    rate: float, fleet: list[float], granted: st.DataObject
) -> None:
    """A share is at least the least, and beyond that within what the others leave."""
    others = [Claim(need, granted.draw(st.floats(0.0, rate))) for need in fleet]
    mine = share(rate, Claim(WAITING, 0.0), others)
    least = LEAST * rate / (1 + len(others))
    free = rate - sum(claim.granted for claim in others)
    assert least <= mine <= max(least, free) + 1e-9


@given(rate=rates, fleet=st.lists(needs, min_size=2, max_size=12))
def test_who_needs_more_gets_no_less(rate: float, fleet: list[float]) -> None:
    """Shares are in the order of needs, and equal needs get equal shares."""
    granted = rounds(rate, fleet, [0.0] * len(fleet), turns=4)
    ordered = [had for _, had in sorted(zip(fleet, granted, strict=True))]
    for less, more in itertools.pairwise(ordered):
        assert less <= more * (1 + 1e-6)


def test_single_permits_with_hysteresis() -> None:
    """Below one call a second and replica permits are leased singly, until it is above 1.5."""
    assert singly(2.0, 8, now_singly=False)
    assert not singly(40.0, 4, now_singly=False)
    assert not singly(8.0, 8, now_singly=False)
    assert singly(7.9, 8, now_singly=False)
    assert singly(11.9, 8, now_singly=True)
    assert not singly(12.0, 8, now_singly=True)


@given(rate=rates, replicas=st.integers(0, 100))
def test_no_rate_goes_back_and_forth(rate: float, replicas: int) -> None:
    """Asked twice at the same rate, the answer stays."""
    for now in (True, False):
        then = singly(rate, replicas, now_singly=now)
        assert singly(rate, replicas, now_singly=then) == then
