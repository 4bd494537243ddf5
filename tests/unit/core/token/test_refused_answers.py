"""What becomes of refused answers: replies by key, events by probes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.token import answers
from worker.core.token.answers import MOST_EVENTS, REPLY_SECONDS, OutboxPace, RefusedReplies

DRAWS = st.floats(0, 1, exclude_max=True)


@given(st.lists(DRAWS, min_size=40, max_size=40))
def test_a_reply_is_tried_for_five_seconds_at_growing_intervals(draws: list[float]) -> None:
    """A lone reply that is refused each time is tried last after five seconds, then dropped."""
    replies, now, waits = RefusedReplies(), 100.0, list[float]()
    for tries, draw in enumerate(draws, 1):
        wait = replies.refused("k", tries, now, draw)
        if wait is None:
            break
        waits.append(wait)
        now += wait
        replies.resumed("k")
    assert now == pytest.approx(100 + REPLY_SECONDS)
    assert 3 <= len(waits) <= 12
    assert all(later >= 0.99 * earlier for earlier, later in pairwise(waits[:-1]))


@given(st.floats(0, 55), DRAWS)
def test_while_a_key_refuses_further_replies_get_one_try(seconds: float, draw: float) -> None:
    """After five seconds of refusals a reply to that key is not tried again, others are."""
    replies = RefusedReplies()
    replies.refused("k", 1, 0.0, 0.5)
    assert replies.refused("k", 1, REPLY_SECONDS + seconds, draw) is None
    assert replies.refused("other", 1, REPLY_SECONDS + seconds, draw) is not None


def test_a_confirm_clears_a_key() -> None:
    """Once a key takes a reply again, the next that is refused has its five seconds."""
    replies = RefusedReplies()
    replies.refused("k", 1, 0.0, 0.5)
    assert replies.refused("k", 1, 6.0, 0.5) is None
    replies.confirmed("k")
    assert len(replies) == 0
    assert replies.refused("k", 1, 6.1, 0.5) is not None


def test_a_key_is_known_while_it_goes_on_refusing() -> None:
    """A key that refuses a reply now and then stays known; after a minute's silence it is not."""
    replies = RefusedReplies()
    assert replies.refused("k", 1, 0.0, 0.5) is not None
    for minute in range(1, 10):
        assert replies.refused("k", 1, 50.0 * minute, 0.5) is None
    assert replies.refused("k", 1, 450.0 + 61.0, 0.5) is not None


def test_a_silent_key_is_tried_every_ten_seconds() -> None:
    """A key whose queue says nothing gets one reply each ten seconds, until it is confirmed."""
    replies = RefusedReplies()
    assert replies.worth_a_try("k", 0.0)
    replies.silent("k", 0.0)
    tried = [now for now in range(1, 50) if replies.worth_a_try("k", float(now))]
    assert tried == [10, 20, 30, 40]
    assert replies.worth_a_try("other", 50.0)
    replies.confirmed("k")
    assert replies.worth_a_try("k", 41.0)
    replies.refused("k", 1, 41.0, 0.5)
    assert replies.worth_a_try("k", 42.0)  # one that refuses is not silent


def test_few_replies_wait_at_once() -> None:
    """However many are refused, fifty of a key and a hundred in all hold their deliveries."""
    replies = RefusedReplies()
    first = [replies.refused("k", 1, 0.0, 0.5) for _ in range(1_000)]
    assert sum(wait is not None for wait in first) == answers.MOST_WAITING_OF_A_KEY == 50
    others = [replies.refused(f"k{n}", 1, 0.0, 0.5) for n in range(1_000)]
    assert sum(wait is not None for wait in others) == answers.MOST_WAITING - 50 == 50
    replies.resumed("k0")
    assert replies.refused("another", 1, 0.0, 0.5) is not None
    assert replies.refused("one more", 1, 0.0, 0.5) is None


def test_what_strangers_make_it_remember_is_bounded() -> None:
    """However many keys there are, ten thousand are remembered: those refused last."""
    replies = RefusedReplies()
    for number in range(answers.MOST_KEYS):
        replies.refused(f"k{number}", 1, 0.0, 0.5)
    assert replies.refused("k0", 1, 4.0, 0.5) is None  # too many wait; but it is known anew
    for number in range(100):
        replies.refused(f"more{number}", 1, 4.0, 0.5)
        assert len(replies) == answers.MOST_KEYS
    for number in range(answers.MOST_WAITING):
        replies.resumed(f"k{number}")
    assert replies.refused("k0", 1, 5.0, 0.5) is None
    assert replies.refused("k200", 1, 5.0, 0.5) is None
    assert replies.refused("k50", 1, 5.0, 0.5) is not None


@given(st.lists(st.tuples(st.sampled_from(["confirmed", "refused", "failed"]), DRAWS)))
def test_after_a_refusal_one_event_is_tried(steps: list[tuple[str, float]]) -> None:
    """Batches never more than double while all are taken; after anything else one is, not soon."""
    pace, now = OutboxPace.begin(0.0), 0.0
    assert (pace.due, pace.size) == (1.0, 1)
    for step, share in steps:
        now = max(now, pace.due)
        size = pace.size
        if step == "confirmed":
            pace.confirmed(now)
            assert pace.due == now
            assert 1 <= pace.size <= min(2 * size, MOST_EVENTS)
            continue
        if step == "failed":
            pace.failed(now)
        else:
            pace.refused(now, int(share * size))
        assert pace.size == 1
        assert 1.0 <= pace.due - now <= 10.0


@given(st.integers(1, 800))
def test_an_outbox_is_emptied_in_doubling_batches(waiting: int) -> None:
    """Where nothing is refused any more each round takes twice as many, up to a bound."""
    pace, sizes = OutboxPace.begin(0.0), list[int]()
    while sum(sizes) < waiting:
        sizes.append(pace.size)
        pace.confirmed(1.0)
    assert sizes == [1, 2, 4, 8, *[16] * 50][: len(sizes)]


@given(st.integers(2, 500), st.sampled_from([5.0, 20.0, 100.0, 1_000.0]))
def test_others_get_few_copies_more(room: int, rate: float) -> None:
    """While a queue is filled again and again, a tenth and one each time are refused, no more."""
    pace, now, free = OutboxPace.begin(0.0), 0.0, float(room)
    refused, fillings, all_taken = 0, 0, 0
    for _ in range(1_000):
        wait = max(0.0, pace.due - now) + 0.01
        now, free = now + wait, min(room, free + rate * wait)
        taken = min(pace.size, int(free))
        free, all_taken = free - taken, all_taken + taken
        refused += pace.size - taken
        fillings += taken < pace.size
        (pace.confirmed(now) if taken == pace.size else pace.refused(now, taken))
    assert refused <= fillings + 0.1 * all_taken + MOST_EVENTS


def test_probes_are_ever_rarer() -> None:
    """The waits between probes are 1, 2, 4, 8 and then 10 seconds; a success begins anew."""
    pace, waits = OutboxPace.begin(0.0), []
    for _ in range(70):
        waits.append(pace.due)
        pace.refused(0.0, 0)
    assert waits[:6] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert waits[-1] == 10.0
    pace.confirmed(0.0)
    pace.refused(0.0, 0)
    assert pace.due == 1.0
