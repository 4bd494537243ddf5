"""Messages that may have ended a process, and how few of them are handled at once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.token.poison import VAIN_DELIVERIES, Guard, Mode, came_back_often

LIMIT = 100


@pytest.mark.parametrize(
    ("headers", "redelivered", "often"),
    [
        ({}, True, False),
        ({"x-delivery-count": 0}, True, False),
        ({"x-delivery-count": 1}, True, False),
        ({"x-delivery-count": 2}, True, True),
        ({"x-delivery-count": 99}, True, True),
        ({"x-delivery-count": 99}, False, False),
        ({"x-delivery-count": "99"}, True, False),
        ({"x-delivery-count": None}, True, False),
        ({"x-acquired-count": 99}, True, False),
        ({"x-delivery-count": 2, "x-acquired-count": 0}, True, True),
    ],
)
def test_a_message_came_back_often_from_its_third_delivery_on(
    headers: dict[str, object], *, redelivered: bool, often: bool
) -> None:
    """The broker's count of returns decides; what a publisher may have written does not."""
    assert came_back_often(headers, redelivered=redelivered) is often


def test_while_no_process_died_nothing_is_set_aside() -> None:
    """Whatever came back, it is handled at once, and the whole prefetch is taken."""
    guard: Guard[int] = Guard(deaths=0)
    assert all(guard.take(number, suspect=False) for number in range(500))
    assert guard.step(deaths=0) == []
    assert (guard.mode, guard.prefetch(264), guard.suspected) == (Mode.NORMAL, 264, 0)


def test_after_a_death_the_first_message_is_taken_alone_then_ever_more() -> None:
    """With suspected messages only, twice as many are taken each time so many were settled."""
    guard: Guard[int] = Guard(deaths=1)
    taken, number = [], 0
    for _ in range(6):
        taken.append(guard.prefetch(20))
        for _ in range(taken[-1]):
            number += 1
            assert guard.take(number, suspect=True)
            guard.let_go(number)
        assert guard.step(deaths=1) == []
    assert taken == [1, 2, 4, 8, 16, 20]
    assert guard.mode is Mode.CAUTIOUS


def test_a_message_that_came_back_seldom_ends_caution_once_nothing_suspected_is_in_hand() -> None:
    """As long as one in hand may end the process, no more are put at stake with it."""
    guard: Guard[str] = Guard(deaths=3)
    guard.take("suspected", suspect=True)
    guard.take("fresh", suspect=False)
    guard.step(deaths=3)
    assert guard.mode is Mode.CAUTIOUS
    guard.let_go("suspected")
    guard.step(deaths=3)
    assert (guard.mode, guard.prefetch(7)) == (Mode.NORMAL, 7)


def test_suspected_messages_wait_for_all_others_and_are_handled_in_growing_groups() -> None:
    """Each group is handed out when the one before is settled; then it begins cautiously anew."""
    guard: Guard[str] = Guard(deaths=0)
    guard.take("fresh", suspect=False)
    aside = [f"s{number}" for number in range(6)]
    assert not any(guard.take(name, suspect=True) for name in aside)
    assert guard.step(deaths=2) == []
    assert (guard.mode, guard.prefetch(100), guard.suspected, len(guard)) == (
        Mode.ISOLATED,
        0,
        6,
        7,
    )
    guard.let_go("fresh")
    for group in (aside[:1], aside[1:3], aside[3:]):
        assert guard.step(deaths=2) == group
        assert guard.step(deaths=2) == []
        for name in group:
            guard.let_go(name)
    assert guard.step(deaths=2) == []
    assert (guard.mode, guard.prefetch(100), guard.suspected) == (Mode.CAUTIOUS, 1, 0)


def test_what_is_set_aside_can_be_given_back() -> None:
    """A message that is returned to its queue before its turn is not handed out any more."""
    guard: Guard[str] = Guard(deaths=0)
    for name in ("a", "b", "c"):
        guard.take(name, suspect=True)
    guard.let_go("a")
    assert guard.step(deaths=1) == ["b"]
    assert ("a" in guard, "c" in guard, guard.held) == (False, True, ("b", "c"))


@pytest.mark.parametrize("deaths", [0, 1])
def test_once_the_deaths_are_long_ago_everything_goes_on_as_normal(deaths: int) -> None:
    """What was set aside is handed out at once, and the whole prefetch is taken again."""
    guard: Guard[str] = Guard(deaths)
    guard.take("a", suspect=True)
    guard.take("b", suspect=True)
    guard.step(deaths=1)
    released = guard.step(deaths=0)
    assert released == ([] if deaths else ["b"])
    assert (guard.mode, guard.prefetch(50), guard.suspected, len(guard)) == (
        Mode.NORMAL,
        50,
        0,
        2,
    )


@dataclass
class Queue:
    """A quorum queue with one message that ends processes, and their starts one after another.

    Attributes:
        chance: Decides in which order messages are settled, and when the deadly one does its work.
        unseen: How many starts it takes until deaths are noticed.
        returns: By message in the queue's order, how often it came back.
    """

    chance: random.Random
    unseen: int
    returns: dict[int, int]
    poison: int
    prefetch: int
    starts: int = 0
    worst: int = 0
    settled: list[int] = field(default_factory=list)

    def run(self) -> None:
        """One process, until it dies or has settled everything."""
        self.starts += 1
        deaths = max(0, self.starts - 1 - self.unseen)
        guard: Guard[int] = Guard(deaths)
        handled: list[int] = []
        waiting = list(self.returns)
        while waiting or len(guard):
            while waiting and len(guard) < guard.prefetch(self.prefetch):
                message = waiting.pop(0)
                suspect = deaths > 0 and self.returns[message] >= VAIN_DELIVERIES
                if guard.take(message, suspect=suspect):
                    handled.append(message)
            handled += guard.step(deaths)
            if self.poison in handled and self.chance.random() < 0.3:
                return self.die(guard)
            harmless = [message for message in handled if message != self.poison]
            if harmless:
                message = self.chance.choice(harmless)
                handled.remove(message)
                guard.let_go(message)
                del self.returns[message]
                self.settled.append(message)
                handled += guard.step(deaths)
        return None

    def die(self, guard: Guard[int]) -> None:
        """Everything in hand comes back, and counts one more."""
        for message in guard.held:
            self.returns[message] += 1
        self.worst = max(
            [self.worst, *(count for at, count in self.returns.items() if at != self.poison)]
        )
        if self.returns[self.poison] >= LIMIT:
            del self.returns[self.poison]


@given(
    seed=st.integers(0, 2**32),
    messages=st.integers(1, 400),
    place=st.floats(0, 1, exclude_max=True),
    prefetch=st.sampled_from([4, 20, 264, 3000]),
    unseen=st.integers(0, 6),
)
def test_a_message_that_ends_processes_is_parked_alone(
    seed: int, messages: int, place: float, prefetch: int, unseen: int
) -> None:
    """It reaches the delivery limit while no neighbour comes anywhere near, and all are settled."""
    poison = int(place * messages)
    queue = Queue(random.Random(seed), unseen, dict.fromkeys(range(messages), 0), poison, prefetch)
    while poison in queue.returns:
        queue.run()
        assert queue.starts <= LIMIT
    queue.run()
    assert sorted([*queue.settled, poison]) == list(range(messages))
    assert queue.worst <= unseen + 16
