"""Who gives way to whom, and for how long: rules, bounds, and a rush in virtual time."""

from __future__ import annotations

import math
import random
import statistics
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.records import Lane
from worker.core.token.demotion import Demotion, Refusals
from worker.core.token.lanes import LaneChooser

PATIENCE = 30.0
SIXTH = 5.0
SHARE = 1 / 6

# --- when it begins and ends ---


def test_nobody_gives_way_before_the_patience_is_over() -> None:
    """However many wait, nobody moves while the oldest has waited no longer than the patience."""
    demotion = Demotion(PATIENCE)
    for second in range(31):
        assert demotion.look(second, float(second), at_quota=True) == 0
    assert not demotion.moving
    assert demotion.look(31.0, 30.1, at_quota=True) == math.inf
    assert demotion.moving


@pytest.mark.parametrize(("wait", "is_past_bound"), [(0.0, False), (5.0, False), (5.1, True)])
def test_a_sixth_of_the_patience_is_the_bound(wait: float, *, is_past_bound: bool) -> None:
    """Who has waited longer than a sixth of the patience is one of those who give way."""
    assert Demotion(PATIENCE).is_past_bound(wait) is is_past_bound


def test_moving_goes_on_while_tokens_older_than_a_sixth_keep_coming() -> None:
    """Once begun a sixth counts, not the whole, until nobody has reached it for as long."""
    demotion = Demotion(PATIENCE)
    assert demotion.look(0.0, 31.0, at_quota=True)
    for now in range(1, 100):
        assert bool(demotion.look(now, 5.1 if now % 4 == 0 else 4.9, at_quota=True)) is (
            now % 4 == 0
        )
    assert demotion.look(100.9, 4.9, at_quota=True) == 0
    assert demotion.moving
    assert demotion.look(101.0, 20.0, at_quota=True) == 0
    assert not demotion.moving


def test_a_long_time_without_a_look_ends_it() -> None:
    """An old token that comes long after the overload has to reach the patience again."""
    demotion = Demotion(PATIENCE)
    assert demotion.look(0.0, 31.0, at_quota=True)
    assert demotion.look(3_600.0, 29.0, at_quota=True) == 0
    assert demotion.look(3_601.0, 31.0, at_quota=True)


def test_nothing_moves_while_the_quota_is_not_the_limit() -> None:
    """Where calls wait for something else nobody moves; an overload that lasts goes on after it."""
    demotion = Demotion(PATIENCE)
    assert demotion.look(0.0, 3_600.0, at_quota=False) == 0
    assert not demotion.moving
    assert demotion.look(1.0, 31.0, at_quota=True)
    assert demotion.look(2.0, 10.0, at_quota=False) == 0
    assert demotion.look(3.0, 10.0, at_quota=True) == math.inf


def test_a_new_patience_counts_at_once() -> None:
    """With another patience both the beginning and the bound are others from the next look on."""
    demotion = Demotion(PATIENCE)
    assert demotion.look(0.0, 20.0, at_quota=True) == 0
    demotion.patience_seconds = 12.0
    assert demotion.look(0.1, 20.0, at_quota=True)
    assert demotion.is_past_bound(2.1)
    assert not demotion.is_past_bound(2.0)


def test_a_queue_behind_begins_it_too() -> None:
    """Where whoever comes now will wait for longer than the patience, nobody waits for that."""
    demotion = Demotion(PATIENCE)
    assert demotion.look(0.0, 1.0, at_quota=False, behind_seconds=31.0) == 0
    assert demotion.look(1.0, 1.0, at_quota=True, behind_seconds=30.0) == 0
    assert demotion.look(2.0, 1.0, at_quota=True, behind_seconds=30.1) == math.inf
    assert demotion.look(3.0, 1.0, at_quota=True, behind_seconds=5.1) == math.inf
    assert demotion.look(8.0, 1.0, at_quota=True, behind_seconds=5.0) == 0
    assert not demotion.moving


@pytest.mark.parametrize(
    ("waiting", "rate", "behind", "surplus"),
    [(384, 40.0, 6.0, 184), (384, 40.0, 5.0, 0), (200, 40.0, 600.0, 0), (9, 0.3, 6.0, 7)],
)
def test_before_a_queue_as_many_stay_as_are_called_for_within_a_sixth(
    waiting: int, rate: float, behind: float, surplus: int
) -> None:
    """Of those in hand the first give way while a queue is behind them that nobody sees into."""
    assert Demotion(PATIENCE).surplus(waiting, rate, behind) == surplus


LOOKS = st.lists(
    st.tuples(st.floats(0.01, 8), st.floats(0, 60), st.booleans()), min_size=1, max_size=120
)


@given(LOOKS, st.floats(0.5, 40))
def test_it_lasts_from_one_past_the_patience_to_a_calm_of_a_sixth(
    looks: list[tuple[float, float, bool]], patience: float
) -> None:
    """In any course it begins and ends as it is told to, and moves only while it may."""
    demotion, now = Demotion(patience), 0.0
    reached = -math.inf  # when somebody last had waited longer than a sixth
    expected = False
    for gap, oldest, at_quota in looks:
        now += gap
        expected = expected and now - reached < patience * SHARE
        expected = expected or (at_quota and oldest > patience)
        allowed = demotion.look(now, oldest, at_quota=at_quota)
        assert demotion.moving is expected
        assert bool(allowed) is (expected and at_quota and oldest > patience * SHARE)
        if expected and oldest > patience * SHARE:
            reached = now


# --- a backlog that refuses ---


def test_holds_grow_to_a_minute() -> None:
    """Each hold is twice as long as the one before, up to a minute."""
    refusals, now, holds = Refusals(), 0.0, []
    for _ in range(6):
        holds.append(refusals.refused(now))
        now = refusals.until
    assert holds == [10, 20, 40, 60, 60, 60]


def test_a_batch_that_is_refused_is_one_refusal() -> None:
    """What was under way when a hold began neither prolongs it nor ends it."""
    refusals = Refusals()
    assert refusals.refused(0.0) == 10
    assert [refusals.refused(0.1 * number) for number in range(50)] == [0] * 50
    refusals.confirmed(0.2)
    assert refusals.allowed(9.9) == 0
    assert refusals.until == 10.0


def test_after_a_hold_one_is_tried() -> None:
    """After a hold one moves, at most one a second, until it is confirmed; then all may."""
    refusals = Refusals()
    assert refusals.allowed(0.0) == math.inf
    refusals.refused(0.0)
    assert [refusals.allowed(now) for now in (5.0, 10.0, 10.1, 10.9, 11.0)] == [0, 1, 0, 0, 1]
    refusals.confirmed(11.1)
    assert refusals.allowed(11.2) == math.inf
    assert refusals.refused(12.0) == 10


def test_a_refusal_holds_the_moving_and_not_the_overload() -> None:
    """While the backlog refuses nothing moves; the overload goes on, and moving with it after."""
    demotion = Demotion(PATIENCE)
    assert demotion.look(0.0, 31.0, at_quota=True)
    demotion.refusals.refused(0.0)
    for now in range(1, 10):
        assert demotion.look(now, 31.0, at_quota=True) == 0
        assert demotion.moving
    assert demotion.look(10.0, 31.0, at_quota=True) == 1
    demotion.refusals.confirmed(10.1)
    assert demotion.look(10.2, 31.0, at_quota=True) == math.inf


@given(st.lists(st.tuples(st.floats(0.01, 30), st.sampled_from("rca")), max_size=200))
def test_holds_are_bounded_and_kept(events: list[tuple[float, str]]) -> None:
    """In any course a hold lasts ten seconds to a minute, and nothing moves while one is on."""
    refusals, now, until = Refusals(), 0.0, -math.inf
    for gap, event in events:
        now += gap
        if event == "r" and (seconds := refusals.refused(now)):
            assert 10 <= seconds <= 60
            assert now >= until
            until = now + seconds
        elif event == "c":
            refusals.confirmed(now)
        elif event == "a" and now < until:
            assert refusals.allowed(now) == 0


# --- a rush, in virtual time ---

QUOTA = 40.0
LOOK_SECONDS = 0.1


@dataclass
class Rush:
    """Replicas that share a quota evenly, a backlog without end, and buyers as they come.

    Attributes:
        served: Live tokens called for: when, and how long they had waited.
        backlog: When calls were made for the backlog.
        moved: When live tokens were moved, and how long they had waited.
    """

    replicas: int
    seed: int
    served: list[tuple[float, float]] = field(default_factory=list)
    backlog: list[float] = field(default_factory=list)
    moved: list[tuple[float, float]] = field(default_factory=list)

    def run(self, *phases: tuple[float, float]) -> None:
        """Let buyers come at each of these rates, for so many seconds each."""
        chance = random.Random(self.seed)
        arrivals, ends = [], 0.0
        for rate, seconds in phases:
            at, ends = ends, ends + seconds
            while (at := at + chance.expovariate(rate)) < ends:
                arrivals.append(at)
        for replica in range(self.replicas):
            self._replica(deque(arrivals[replica :: self.replicas]), ends)

    def _replica(self, arrivals: deque[float], ends: float) -> None:
        demotion, chooser, line = Demotion(PATIENCE), LaneChooser(), deque[float]()
        permit, look, now = self.replicas / QUOTA, 0.0, 0.0
        while now < ends:
            now = min(permit, look)
            while arrivals and arrivals[0] <= now:
                line.append(arrivals.popleft())
            if now == look:
                self._look(demotion, line, now)
                look += LOOK_SECONDS
            else:
                self._call(chooser, line, now)
                permit += self.replicas / QUOTA

    def _look(self, demotion: Demotion, line: deque[float], now: float) -> None:
        oldest = now - line[0] if line else 0.0
        if demotion.look(now, oldest, at_quota=True):
            while line and demotion.is_past_bound(now - line[0]):
                self.moved.append((now, now - line.popleft()))

    def _call(self, chooser: LaneChooser, line: deque[float], now: float) -> None:
        if chooser.choose((Lane.LIVE, Lane.BACKLOG) if line else (Lane.BACKLOG,)) is Lane.LIVE:
            self.served.append((now, now - line.popleft()))
        else:
            self.backlog.append(now)

    def waits(self, begins: float, ends: float) -> list[float]:
        """The waits of the live tokens served in a time."""
        return [wait for at, wait in self.served if begins <= at < ends]

    def backlog_share(self, begins: float, ends: float) -> float:
        """The part of the calls in a time that went to the backlog."""
        calls = sum(begins <= at < ends for at in self.backlog)
        return calls / (calls + len(self.waits(begins, ends)))


@pytest.fixture(scope="module", params=[1, 4])
def rush(request: pytest.FixtureRequest) -> Rush:
    """Three minutes of twice the quota, then two of a third of it, then three of twice again."""
    rush = Rush(request.param, seed=4)
    rush.run((2 * QUOTA, 180.0), (QUOTA / 3, 120.0), (2 * QUOTA, 180.0))
    return rush


def test_half_of_those_served_in_a_rush_waited_less_than_ten_seconds(rush: Rush) -> None:
    """With twice the quota coming, the median wait stays under 10 s, the search for it included."""
    assert statistics.median(rush.waits(0, 180)) < 10
    assert statistics.median(rush.waits(60, 180)) < 5.5
    assert max(rush.waits(60, 180)) <= SIXTH + LOOK_SECONDS + 1e-6


def test_the_backlog_keeps_its_fifth_in_a_rush(rush: Rush) -> None:
    """The backlog has 20 % of the calls while more buyers come than can be served."""
    for begins in range(10, 170, 20):
        assert rush.backlog_share(begins, begins + 20) == pytest.approx(0.2, abs=0.01)


def test_no_call_is_lost_to_the_moving(rush: Rush) -> None:
    """While tokens move, as many are called for as the quota allows."""
    assert len(rush.waits(60, 180)) == pytest.approx(120 * QUOTA * 0.8, rel=0.01)


def test_only_those_past_a_sixth_move(rush: Rush) -> None:
    """Nobody moves who has waited less than a sixth, and nobody before the patience is over."""
    assert min(wait for _, wait in rush.moved) > SIXTH
    assert min(at for at, _ in rush.moved) > PATIENCE


def test_after_a_rush_buyers_are_answered_at_once(rush: Rush) -> None:
    """Soon after the rush nobody moves nor waits, and the backlog has all that is left."""
    assert not [at for at, _ in rush.moved if 190 < at < 300]
    assert max(rush.waits(195, 300)) < 1.5
    assert rush.backlog_share(195, 300) == pytest.approx(2 / 3, abs=0.05)


def test_the_next_rush_has_to_reach_the_patience_again(rush: Rush) -> None:
    """A rush that comes minutes later begins anew: nobody moves in its first half minute."""
    assert not [at for at, _ in rush.moved if 300 < at < 300 + PATIENCE]
    assert [at for at, _ in rush.moved if at > 300 + PATIENCE]
    assert statistics.median(rush.waits(300, 480)) < 10
