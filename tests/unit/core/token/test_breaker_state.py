"""When a replica stops, when it looks again, and what it does on what others tell."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.core import aws_errors
from worker.core.shortage import DESCRIPTORS
from worker.core.token.breaker import BreakerState
from worker.core.token.systemic_answers import OwnCalls, SystemicAnswers

DENIED = aws_errors.systemic("AccessDeniedException", "not you")


def refused(at: float = 0.0, probes: int = 1) -> BreakerState:
    """A replica whose calls were stopped, and whose probes were refused."""
    state = BreakerState()
    assert state.stop(DENIED, at)
    for number in range(probes):
        state.refused(at + number, at + number, 0.5)
    return state


def test_the_first_probe_is_due_at_once() -> None:
    """It is this replica's own: a fault that follows one token alone is over with it."""
    state = BreakerState()
    assert state.stop(DENIED, 5.0)
    assert (state.next_probe_at, state.needs_turn, state.refusal_confirmed) == (5.0, False, False)
    assert not state.stop(DENIED, 6.0)
    assert state.since == 5.0


def test_later_probes_take_turns_and_are_seconds_apart() -> None:
    """But for what this process alone is short of: that it looks for by itself."""
    state = refused()
    assert state.needs_turn
    assert 1.0 <= state.next_probe_at <= 1.5
    own = BreakerState()
    own.stop(aws_errors.systemic(DESCRIPTORS.code, DESCRIPTORS.what), 0.0)
    own.refused(0.0, 0.0, 0.5)
    assert own.is_own
    assert not own.needs_turn


def test_who_is_refused_while_others_are_able_stands_aside() -> None:
    """Only once a probe was refused too, and only while there are others."""
    state = BreakerState()
    state.follow(1, None, 0.0)
    state.stop(DENIED, 1.0)
    seen = [(state.stands_aside, state.alone)]
    state.refused(1.0, 1.0, 0.5)  # nobody knows yet whether AWS accepts the other
    seen.append((state.stands_aside, state.alone))
    state.follow(1, 1.5, 2.0)
    seen.append((state.stands_aside, state.alone))
    state.follow(0, None, 3.0)
    seen.append((state.stands_aside, state.alone))
    state.follow(1, 4.0, 5.0)
    state.resume()
    seen.append((state.stands_aside, state.alone))
    assert seen == [(False, False), (True, False), (True, True), (False, False), (False, False)]


def test_news_of_an_acceptance_are_followed_once() -> None:
    """One look at once; who is refused then has a fault of its own, and looks seldom."""
    state = refused(at=10.0)
    assert not state.follow(1, 9.0, 10.1), "that was before"
    assert state.follow(1, 11.0, 11.1)
    assert (state.next_probe_at, state.needs_turn) == (11.1, False)
    state.refused(11.1, 11.2, 0.5)
    assert not state.follow(1, 12.0, 12.1)
    assert state.next_probe_at >= 11.2 + 5
    state.follow(0, None, 13.0)
    assert state.follow(1, 14.0, 14.1), "then all were refused, and it is over for one"


@given(st.lists(st.sampled_from("asr"), max_size=40))
def test_a_token_is_convicted_by_three_answers_with_successes_between(said: str) -> None:
    """Answered, systemic or a refused probe in any order: as many as the successes allow."""
    calls, token, other = OwnCalls(), SystemicAnswers(), SystemicAnswers()
    count, armed = 0, True
    for each in said:
        if each == "a":
            calls.answered(other)
            armed = True
        elif each == "s":
            calls.systemic(token)
            count += armed
            armed = False
            assert token.count == count
        else:
            calls.ours()
            count, armed = 0, True


def test_a_token_that_is_accepted_after_all_clears_the_others() -> None:
    """A refusal that met a sound token was ours, and what it did to others says nothing."""
    calls, sound, other = OwnCalls(), SystemicAnswers(), SystemicAnswers()
    for _ in range(2):
        calls.systemic(sound)
        calls.systemic(other)
        calls.answered(SystemicAnswers())
    assert other.count == 2
    calls.answered(sound)
    calls.systemic(other)
    assert other.count == 1
