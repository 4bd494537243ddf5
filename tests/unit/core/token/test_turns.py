"""Turns between callers and their sources, and who has more in hand than his turns."""

from __future__ import annotations

from collections import Counter, deque
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from worker.core.records import Lane, Origin
from worker.core.token.prefetch import MOST_PREFETCHED
from worker.core.token.turns import Company, Turns, in_hand_at_most

T = TypeVar("T")
JUNK = Origin("shop", "junk")
BUYER = Origin("shop", "buyer")
OTHER = Origin("club", "buyer")


def taken(line: Turns[T]) -> list[T]:
    """Everybody, in the order of their turns."""
    turns = []
    while line.first() is not None:
        turns.append(line.take())
    return turns


def test_sources_have_turns_within_their_caller_and_callers_among_themselves() -> None:
    """A flood from one source of one caller takes half of what is left to the others."""
    line: Turns[str] = Turns()
    for number in range(4):
        line.join(f"j{number}", JUNK)
    line.join("b0", BUYER)
    for number in range(3):
        line.join(f"o{number}", OTHER)
    assert taken(line) == ["j0", "o0", "b0", "o1", "j1", "o2", "j2", "j3"]


def test_who_is_first_goes_before_all_turns_and_uses_up_none() -> None:
    """A call that is made again is nobody's turn."""
    line: Turns[str] = Turns()
    line.join("a", JUNK)
    line.join("b", BUYER)
    line.join_first("again")
    assert taken(line) == ["again", "a", "b"]


def test_who_has_left_uses_up_no_turn() -> None:
    """Another of the same origin is next."""
    line: Turns[str] = Turns()
    for name in ("a0", "a1"):
        line.join(name, JUNK)
    line.join("b0", BUYER)
    line.drop_first()
    assert taken(line) == ["a1", "b0"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("join"), st.integers(0, 2), st.integers(0, 2)),
            st.tuples(st.just("take"), st.just(0), st.just(0)),
            st.tuples(st.just("leave"), st.integers(0, 50), st.just(0)),
            st.tuples(st.just("again"), st.just(0), st.just(0)),
        ),
        max_size=80,
    )
)
def test_nobody_is_lost_or_served_twice(steps: list[tuple[str, int, int]]) -> None:
    """Whoever joins leaves once, those of one origin in their order, and nothing is kept."""
    line: Turns[int] = Turns()
    inside: dict[int, Origin] = {}
    order: dict[Origin, deque[int]] = {}
    for number, (what, one, other) in enumerate(steps):
        if what == "join":
            origin = Origin(str(one), str(other))
            line.join(number, origin)
            inside[number] = origin
            order.setdefault(origin, deque()).append(number)
        elif what == "again":
            line.join_first(number)
            inside[number] = Origin()
        elif what == "leave" and inside:
            gone = sorted(inside)[one % len(inside)]
            line.leave(gone, inside[gone])
            if gone in order.get(inside[gone], ()):
                order[inside[gone]].remove(gone)
            del inside[gone]
        elif what == "take" and inside:
            assert line.first() in inside
            item = line.take()
            if item in order.get(inside[item], ()):
                assert order[inside[item]].popleft() == item
            del inside[item]
        assert sorted(line) == sorted(inside)
        assert (line.first() is None) == (not inside)
    assert Counter(taken(line)) == Counter(list(inside))
    assert not line._callers


def test_company_is_somebody_else_within_a_minute() -> None:
    """One who is told apart from others has company in any case; the others if they have."""
    company, alone = Company(), Origin("shop")
    company.seen(alone, 0.0)
    assert not company.has(alone, 1.0)
    assert company.has(JUNK, 1.0)
    company.seen(BUYER, 10.0)
    for now in (10.0, 70.0):
        company.seen(alone, now)
        assert company.has(alone, now)
    company.seen(alone, 71.0)
    assert not company.has(alone, 71.0)


def test_in_hand_are_two_seconds_of_the_rate() -> None:
    """Never less than a few, so that a low rate sends nobody away; nor more than a part of all."""
    assert [in_hand_at_most(rate) for rate in (0.1, 10.0, 40.0)] == [5, 20, 80]
    assert in_hand_at_most(1e9) == MOST_PREFETCHED[Lane.LIVE] // 4
