"""Which page a browser is shown, by what is stored of its set-ups."""

from __future__ import annotations

from dataclasses import replace

import pytest

from landing.records import Answered, Customer, Setup
from landing.visits import LONG_SECONDS, OPEN_SECONDS, Calls, of_token, page_of

MINE = Customer("arn:1", "prod-1", "012345678901")
OTHER = Customer("arn:2", "prod-2", "999999999999")
RESOLVED = Answered("resolved", repeated=False, customer=MINE)
REPEATED = Answered("resolved", repeated=True, customer=MINE)
REJECTED = Answered("rejected", repeated=False)
FAILED = Answered("failed", repeated=False)


def setup(answer: Answered | None, number: int = 1, text: str = "t") -> Setup:
    """A set-up that was begun at 0."""
    return Setup(number, f"secret-{number}", text, f"WGR1-{number}", 0.0, None, answer)


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ([None], "waiting"),
        ([RESOLVED], "resolved"),
        ([REPEATED], "returning"),
        ([REJECTED], "restart"),
        ([Answered("rejected", repeated=True)], "restart"),
        ([FAILED], "contact"),
        # The same browser has brought the same token twice.
        ([RESOLVED, REPEATED], "resolved"),
        ([RESOLVED, None], "resolved"),
        ([REPEATED, RESOLVED], "resolved"),  # the second was faster
        ([None, REPEATED], "waiting"),  # so perhaps this browser was the first all the same
        ([REPEATED, REPEATED], "returning"),
        ([FAILED, REPEATED], "resolved"),  # tried again, and saved
        ([FAILED, None], "waiting"),
        ([FAILED, REJECTED], "restart"),
    ],
)
def test_state(answers: list[Answered | None], state: str) -> None:
    """Only a browser that was the first to submit a token gets on; who waits, waits."""
    same = [setup(answer, number) for number, answer in enumerate(answers, 1)]
    page = page_of(same, "running", 1.0, None)
    assert page.state == state
    assert (page.customer is not None) == (state == "resolved")
    assert page.headline
    assert page.detail


def test_a_repeated_answer_names_nobody() -> None:
    """Whoever was not the first is not told who the buyer is."""
    assert page_of([setup(REPEATED)], "running", 1.0, None).customer is None
    assert page_of([setup(REPEATED)], "running", 1.0, MINE).customer is None


def test_another_customer_is_signed_in() -> None:
    """A session of another customer is not replaced; one of the same customer is no hindrance."""
    assert page_of([setup(RESOLVED)], "running", 1.0, OTHER).state == "other-customer"
    assert page_of([setup(RESOLVED)], "running", 1.0, MINE).state == "resolved"


def test_a_set_up_signs_in_for_a_while() -> None:
    """Ten minutes after it was used, a set-up opens nothing more: a log-in or a session does."""
    used = [replace(setup(RESOLVED), used_at=1000.0)]
    for now, signed_in, state in (
        (1000.0 + OPEN_SECONDS, None, "resolved"),
        (1001.0 + OPEN_SECONDS, None, "returning"),
        (1001.0 + OPEN_SECONDS, MINE, "resolved"),
        (1001.0 + OPEN_SECONDS, OTHER, "other-customer"),
    ):
        assert page_of(used, "running", now, signed_in).state == state
    assert page_of([*used, setup(REPEATED, 2)], None, 1e6, None).state == "returning"


@pytest.mark.parametrize("calls", ["running", "paused", "stopped", None])
def test_words_for_who_waits(calls: Calls | None) -> None:
    """Pause, stop and a long wait have words of their own, without an operator's."""
    soon = page_of([setup(None)], calls, LONG_SECONDS - 1, None)
    late = page_of([setup(None)], calls, LONG_SECONDS + 1, None)
    assert (soon == late) == (calls in {"paused", "stopped"})
    assert "This page goes on by itself" in late.detail
    headlines = {page_of([setup(None)], each, 0, None).headline for each in ("paused", "stopped")}
    assert len({*headlines, page_of([setup(None)], None, 0, None).headline}) == 3


def test_products_do_not_mix() -> None:
    """Set-ups of another token in the same browser do not matter."""
    mine = [setup(FAILED, 1, "a"), setup(RESOLVED, 2, "b"), setup(None, 3, "a")]
    assert [each.number for each in of_token(mine, 3)] == [1, 3]
    assert [each.number for each in of_token(mine, 2)] == [2]
    assert of_token(mine, 4) == []
