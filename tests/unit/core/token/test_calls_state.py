"""What callers are told of the calls: whether they are made, and if not, why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import contract
from worker.core import holds
from worker.core.token.calls_state import (
    CONSUMING,
    MOST_REASON_CHARS,
    SHUTTING_DOWN,
    CallsState,
    body,
    judge,
)
from worker.core.token.wire import Calls

DENIED = "AccessDeniedException: User: arn:aws:iam::123456789012:user/x is not authorized"
NAMES = (holds.AWS, holds.LEDGER, holds.PAUSE, holds.FLEET, holds.DRAIN, CONSUMING, "another")


@pytest.mark.parametrize(
    ("held", "paused", "calls", "reason"),
    [
        ({}, None, "running", None),
        ({holds.PAUSE: "paused by ada: a migration"}, "a migration", "paused", "a migration"),
        ({holds.PAUSE: "paused by ada: "}, "", "paused", None),
        ({holds.PAUSE: "p", holds.AWS: DENIED}, "a migration", "paused", "a migration"),
        ({holds.DRAIN: "d", holds.PAUSE: "p"}, "a migration", "stopped", SHUTTING_DOWN),
        (
            {holds.AWS: DENIED},
            None,
            "stopped",
            "calls to AWS are stopped (AccessDeniedException)",
        ),
        ({holds.LEDGER: "x"}, None, "stopped", "the workers' database can't be used"),
        (
            {holds.FLEET: "x", holds.LEDGER: "y"},
            None,
            "stopped",
            "the workers' database can't be used",
        ),
        (
            {holds.FLEET: "x"},
            None,
            "stopped",
            "this worker makes no calls yet: it is starting",
        ),
        ({CONSUMING: "x"}, None, "stopped", "no messages are taken from the broker"),
        ({"another": "x"}, None, "stopped", "calls are stopped"),
    ],
)
def test_the_calls_are_judged_by_what_holds_them(
    held: dict[str, str], paused: str | None, calls: str, reason: str | None
) -> None:
    """A pause says more than a fault, a farewell more than a pause; nothing held is running."""
    assert judge(held, paused) == (calls, reason)


@given(st.dictionaries(st.sampled_from(NAMES), st.text()), st.none() | st.text())
def test_calls_run_only_while_nothing_holds_them(held: dict[str, str], paused: str | None) -> None:
    """Whatever holds calls, they are not running; the reason is bounded, and there is one."""
    calls, reason = judge(held, paused)
    assert (calls is Calls.RUNNING) is (not held)
    assert calls is not Calls.PAUSED or holds.PAUSE in held
    assert len(reason or "") <= MOST_REASON_CHARS
    assert bool(reason) is (calls is Calls.STOPPED or (calls is Calls.PAUSED and bool(paused)))


def test_a_long_reason_is_cut() -> None:
    """An operator's reason of any length is told as far as there is room."""
    _, reason = judge({holds.PAUSE: "p"}, "x" * 1000)
    assert reason == "x" * (MOST_REASON_CHARS - 1) + "…"


def test_a_pause_that_ends_by_itself_says_when() -> None:
    """However long the reason is, callers hear until when calls are paused."""
    ending = ", until 2026-11-22 09:50:03 UTC"
    _, reason = judge({holds.PAUSE: "p"}, "a migration", ending)
    assert reason == "a migration, until 2026-11-22 09:50:03 UTC"
    _, reason = judge({holds.PAUSE: "p"}, "x" * 1000, ending)
    assert reason is not None
    assert reason.endswith(f"x…{ending}")
    assert len(reason) == MOST_REASON_CHARS


def test_the_words_of_aws_are_not_told() -> None:
    """Callers hear the code alone, for AWS's words name the account and its roles."""
    _, reason = judge({holds.AWS: DENIED}, None)
    assert "arn" not in (reason or "")


def test_the_message_is_as_documented() -> None:
    """All members are there, in their order, with figures that a person can read."""
    state = CallsState(Calls.RUNNING, None, 40.0, 12, 0.4321)
    assert body(state).decode() == (
        '{"version":1,"calls":"running","reason":null,"rate":40.0,"waiting":12,'
        '"oldest_seconds":0.4}'
    )
    paused = CallsState(Calls.PAUSED, 'a "migration"', 1 / 3, 0, -5.0)
    told = contract.state(body(paused))
    assert (told["calls"], told["reason"]) == ("paused", 'a "migration"')
    assert (told["rate"], told["oldest_seconds"]) == (0.33, 0.0)
