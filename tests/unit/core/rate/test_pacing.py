"""Chance, pace and turns: asserted as distributions and bounds, with clocks and draws given."""

from __future__ import annotations

import random
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.backoff import CALLS, RECONNECT, FullJitter, equal_jitter, probe_wait
from worker.core.rate.pacing import Gcra
from worker.core.records import Lane
from worker.core.token.lanes import SHARES, LaneChooser
from worker.core.token.prefetch import (
    LARGEST_MESSAGE_BYTES,
    MOST_IN_HAND,
    MOST_IN_HAND_BYTES,
    MOST_PREFETCHED,
    PARKED_PREFETCH,
    is_worth_changing,
    live_prefetch,
    prefetch,
    prefetch_beside,
    prefetches,
)

DRAWS = 20_000


def draws(seed: int) -> list[float]:
    """Uniform draws, the same each time."""
    chance = random.Random(seed)
    return [chance.random() for _ in range(DRAWS)]


# --- backoff ---


@pytest.mark.parametrize(
    ("failures", "bound"), [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.0), (1_000_000, 1.0)]
)
def test_the_bound_doubles_up_to_the_cap(failures: int, bound: float) -> None:
    """The bound of a wait doubles with each failure, up to its cap, however many there are."""
    assert CALLS.bound(failures) == pytest.approx(bound)


@pytest.mark.parametrize("failures", [1, 3, 40])
@pytest.mark.parametrize("jitter", [CALLS, RECONNECT, FullJitter(2.0, 9.0)])
def test_full_jitter_spreads_evenly_from_nothing_to_the_bound(
    jitter: FullJitter, failures: int
) -> None:
    """Waits are uniform: half the bound on average, and reaching from nothing up to all of it."""
    bound = jitter.bound(failures)
    waits = [jitter.delay(failures, draw) for draw in draws(1)]
    assert statistics.fmean(waits) == pytest.approx(bound / 2, rel=0.02)
    assert statistics.pstdev(waits) == pytest.approx(bound / 12**0.5, rel=0.02)
    assert 0 <= min(waits) < bound * 0.01
    assert bound * 0.99 < max(waits) < bound


def test_equal_jitter_keeps_at_least_half() -> None:
    """Equal jitter reaches from half to the whole, three quarters on average."""
    waits = [equal_jitter(8.0, draw) for draw in draws(2)]
    assert statistics.fmean(waits) == pytest.approx(6.0, rel=0.01)
    assert 4.0 <= min(waits) < 4.05
    assert 7.95 < max(waits) < 8.0


def test_probes_are_quick_at_first_and_never_rare() -> None:
    """The first probes come after a second or so, later ones every two to three seconds."""
    first = [probe_wait(0, draw) for draw in draws(3)]
    assert 1.0 <= min(first) < 1.01
    assert 1.49 < max(first) < 1.5
    late = [probe_wait(50, draw) for draw in draws(4)]
    assert statistics.fmean(late) == pytest.approx(2.5, rel=0.01)
    assert min(late) >= 2.0
    assert max(late) < 3.0
    longest = [probe_wait(probes, 1.0) for probes in range(20)]
    assert longest == sorted(longest)
    assert longest[:3] == pytest.approx([1.5, 2.25, 3.0])


# --- the pace of calls ---


def run(pace: Gcra, ends: float, step: float = 0.001, start: float = 0.0) -> list[float]:
    """When permits are had by somebody who asks all the time."""
    taken: list[float] = []
    for tick in range(int((ends - start) / step)):
        now = start + tick * step
        while len(taken) < 100_000 and pace.take(now):
            taken.append(now)
    return taken


@pytest.mark.parametrize("rate", [0.5, 10.0, 25.0, 333.0])
@pytest.mark.parametrize("burst", [1.0, 4.0])
def test_the_long_run_reaches_its_rate(rate: float, burst: float) -> None:
    """Somebody who always waits as told gets the full rate in the long run, and not more."""
    pace, now, count = Gcra(rate, burst), 0.0, 0
    while now < 1_000 / rate:
        if pace.take(now):
            count += 1
        else:
            now += pace.wait(now)
    assert 1_000 <= count <= 1_000 + burst + 1


@given(
    st.floats(0.1, 500),
    st.floats(1, 20),
    st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_no_window_has_more_than_its_permits(rate: float, burst: float, gaps: list[float]) -> None:
    """In any window of T seconds at most rate x T + burst permits are given."""
    pace, now = Gcra(rate, burst), 100.0
    taken: list[float] = []
    for gap in gaps:
        now += gap / rate
        for _ in range(30):
            if not pace.take(now):
                break
            taken.append(now)
    for first, opened in enumerate(taken):
        for last in range(first, len(taken)):
            permits = last - first + 1
            assert permits <= rate * (taken[last] - opened) + burst + 1e-6


@given(st.floats(0.1, 500), st.floats(1, 20), st.lists(st.floats(0, 3), max_size=50))
def test_a_wait_is_as_long_as_it_says(rate: float, burst: float, gaps: list[float]) -> None:
    """Before the wait that is told no permit is had, after it one is, and a refusal costs none."""
    pace, now = Gcra(rate, burst), 0.0
    for gap in gaps:
        now += gap / rate
        wait = pace.wait(now)
        assert 0 <= wait <= 1 / rate + 1e-9
        if wait > 1e-6:
            assert not pace.take(now)
            assert not pace.take(now + wait * 0.99)
            assert pace.wait(now) == wait
        now += wait + 1e-9
        assert pace.take(now)


def test_no_rate_is_no_limit() -> None:
    """Without a rate permits are always to be had."""
    pace = Gcra(None)
    assert all(pace.take(0.0) for _ in range(10_000))
    assert pace.wait(0.0) == 0.0


def test_a_rest_saves_up_no_more_than_the_burst() -> None:
    """After a long rest the burst is had at once, and then the rate again."""
    pace = Gcra(10.0, burst=3)
    pace.take(0.0)
    taken = run(pace, ends=1_000.5, start=1_000.0)
    assert taken[:3] == [1_000.0] * 3
    assert len(taken) == 3 + 4


@pytest.mark.parametrize("other", [1.0, 5.0, 20.0, 100.0])
def test_a_change_of_rate_keeps_the_debt_in_permits(other: float) -> None:
    """Who owes a permit and a half at one rate owes as much at the next."""
    pace = Gcra(10.0, burst=3)
    while pace.take(0.0):
        pass
    owed = (pace.arrival - 0.1) * 10.0
    pace.change(other, now=0.1)
    assert pace.rate == other
    assert (pace.arrival - 0.1) * other == pytest.approx(owed)
    back = pace.arrival
    pace.change(other, now=0.1)
    assert pace.arrival == pytest.approx(back)


def test_a_change_to_and_from_no_rate() -> None:
    """A limit that is lifted lets all through; one that is set again holds from then on."""
    pace = Gcra(1.0)
    assert pace.take(0.0)
    assert not pace.take(0.5)
    pace.change(None, now=0.5)
    assert pace.take(0.5)
    assert pace.take(0.5)
    pace.change(2.0, now=9.0)
    assert pace.take(9.0)
    assert not pace.take(9.4)
    assert pace.take(9.5)


def test_a_change_when_nothing_is_owed_gives_nothing_away() -> None:
    """A change after a rest neither saves up permits nor takes any."""
    pace = Gcra(1.0)
    pace.take(0.0)
    pace.change(100.0, now=50.0)
    assert len(run(pace, ends=50.1, start=50.0)) == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("concurrency", "share", "lent"),
    [
        (64, None, 328),
        (1, None, 202),
        (64, 1_000.0, 328),
        (64, 5.0, 150),
        (64, 0.25, 8),
        (64, 0.01, 4),
        (64, 0.0, 4),
        (64, 1.01, 31),
    ],
)
def test_no_more_is_lent_than_can_soon_be_called_for(
    concurrency: int, share: float | None, lent: int
) -> None:
    """The prefetch keeps all calls busy; where calls are rare it is half a minute's worth."""
    assert prefetch(concurrency, share) == lent


@given(st.integers(1, 10_000), st.none() | st.floats(0.0, 1e9))
def test_something_is_always_lent(concurrency: int, share: float | None) -> None:
    """The prefetch is at least 4 (a prefetch of 0 would mean without bound), and bounded."""
    assert 4 <= prefetch(concurrency, share) <= 2 * concurrency + 200


@given(st.floats(0.15, 100))
def test_what_is_lent_is_called_for_before_it_is_held_too_long(share: float) -> None:
    """Even with a fifth of the share for its lane, what is lent has its turn within 4 minutes."""
    assert prefetch(64, share) / (share * SHARES[Lane.BACKLOG]) < 240


@pytest.mark.parametrize(
    ("share", "patience", "lent"),
    [
        (0.25, 0.001, 328),
        (0.25, 30.0, 328),
        (8.0, 30.0, 600),
        (1e9, 30.0, MOST_IN_HAND),
        (None, 30.0, 328),
        (0.25, 121.0, 8),
    ],
)
def test_the_live_lane_is_lent_to_be_overtaken(
    share: float | None, patience: float, lent: int
) -> None:
    """Of the live lane much is lent at any share, unless patience is longer than it may be held."""
    assert live_prefetch(64, share, patience) == lent


@given(st.floats(0.01, 5), st.floats(0.1, 30))
def test_a_rush_of_twice_the_share_waits_here(share: float, patience: float) -> None:
    """At a share of up to 5/s what comes at twice of it while a patience lasts has room here."""
    assert prefetches(64, share, patience)[Lane.LIVE] >= 2 * share * patience


@given(st.integers(1, 10_000), st.none() | st.floats(0.0, 1e9), st.floats(0.001, 14_400))
def test_all_that_is_lent_keeps_to_the_bound_in_bytes(
    concurrency: int, share: float | None, patience: float
) -> None:
    """Whatever is configured, all lanes and the parked ones take at most 96 MiB; live has most."""
    lent = prefetches(concurrency, share, patience)
    assert lent.keys() == MOST_PREFETCHED.keys() == set(Lane)
    assert (sum(lent.values()) + PARKED_PREFETCH) * LARGEST_MESSAGE_BYTES <= MOST_IN_HAND_BYTES
    assert all(4 <= messages <= MOST_PREFETCHED[lane] for lane, messages in lent.items())
    assert lent[Lane.LIVE] >= lent[Lane.BACKLOG] >= lent[Lane.CROWD]


def test_the_bound_is_that_of_the_shipped_broker() -> None:
    """The largest message is the largest that the broker takes as it is shipped."""
    shipped = Path(__file__).parents[4] / "deploy" / "rabbitmq" / "resolution.conf"
    assert f"max_message_size = {LARGEST_MESSAGE_BYTES}" in shipped.read_text().splitlines()
    assert MOST_IN_HAND == 768


@given(st.integers(0, 1_000), st.integers(1, 500), st.integers(0, 500))
def test_what_is_lent_anew_counts_what_is_in_hand(wanted: int, most: int, in_hand: int) -> None:
    """Both together keep to the bound; half of what is wanted is lent, or nothing until it fits."""
    lent = prefetch_beside(wanted, most, in_hand)
    assert 0 <= lent <= wanted
    assert not lent or lent + in_hand <= most
    assert not lent or 2 * lent >= min(wanted, most)
    assert prefetch_beside(wanted, most, 0) == min(wanted, most)


@pytest.mark.parametrize(
    ("lent", "wanted", "worth"),
    [(8, 16, False), (8, 17, True), (16, 8, False), (17, 8, True), (9, 9, False)],
)
def test_only_a_great_change_is_worth_lending_anew(lent: int, wanted: int, *, worth: bool) -> None:
    """Less than twice or more than half as many are not worth asking the broker."""
    assert is_worth_changing(lent, wanted) is worth


# --- lanes ---


BOTH = {Lane.LIVE, Lane.BACKLOG}


def test_the_backlog_gets_exactly_a_fifth_while_both_wait() -> None:
    """Of any five turns in a row the backlog has one, the live lane four, without drift."""
    chooser = LaneChooser()
    turns = [chooser.choose(BOTH) for _ in range(100_000)]
    assert turns.count(Lane.BACKLOG) == 20_000
    assert all(turns[at : at + 5].count(Lane.BACKLOG) == 1 for at in range(1_000))
    assert all(turns[at : at + 5].count(Lane.BACKLOG) == 1 for at in range(99_000, 99_995))


def test_a_lane_alone_has_all_turns() -> None:
    """Whichever lane is alone gets every turn, and nobody gets one if neither waits."""
    chooser = LaneChooser()
    assert {chooser.choose({Lane.LIVE}) for _ in range(50)} == {Lane.LIVE}
    assert {chooser.choose({Lane.BACKLOG}) for _ in range(50)} == {Lane.BACKLOG}
    assert chooser.choose(()) is None


@pytest.mark.parametrize("waiting", [(Lane.LIVE,), (), (Lane.BACKLOG,)])
def test_an_idle_lane_saves_nothing_up(waiting: tuple[Lane, ...]) -> None:
    """After any time alone or idle the backlog still waits for its fifth turn."""
    chooser = LaneChooser()
    for _ in range(1_000):
        chooser.choose(waiting)
    turns = [chooser.choose(BOTH) for _ in range(10)]
    assert turns.count(Lane.BACKLOG) == 2
    assert turns[:4] == [Lane.LIVE] * 4


def test_the_crowd_gets_a_twentieth_and_what_is_left() -> None:
    """It takes nothing from the backlog's fifth, and all turns that nobody else wants."""
    chooser = LaneChooser()
    turns = [chooser.choose(tuple(Lane)) for _ in range(10_000)]
    assert turns.count(Lane.CROWD) in {499, 500}
    assert turns.count(Lane.BACKLOG) == 2_000
    turns = [chooser.choose({Lane.BACKLOG, Lane.CROWD}) for _ in range(1_000)]
    assert turns.count(Lane.CROWD) in {50, 51}
    assert {chooser.choose({Lane.CROWD}) for _ in range(50)} == {Lane.CROWD}


@given(st.lists(st.sets(st.sampled_from(Lane)), max_size=300))
def test_nobody_waits_while_a_turn_is_free(waits: list[set[Lane]]) -> None:
    """A turn goes to a lane that waits, and each waits for so many turns at most."""
    chooser, passed = LaneChooser(), dict.fromkeys(Lane, 0)
    for waiting in waits:
        lane = chooser.choose(waiting)
        assert (lane is None) == (not waiting)
        assert lane is None or lane in waiting
        for each in Lane:
            passed[each] = passed[each] + 1 if each in waiting and each is not lane else 0
        assert passed[Lane.BACKLOG] <= 4
        assert passed[Lane.CROWD] <= 20
        assert all(0 <= credit < 2 for credit in chooser.credit.values())
