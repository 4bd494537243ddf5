"""What becomes of a token: every rule of the promises, before and after a call."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.records import ANSWER, BUYER, NOW, POLICY, ago, fault, outcome, submission
from worker.core.records import Answer, Fault, FaultKind, Outcome, Status, Submission
from worker.core.token.verdict import (
    Call,
    Halt,
    Policy,
    Repeat,
    RetryIn,
    Store,
    Tries,
    TryAgain,
    Verdict,
    after_call,
    before_call,
    counts,
    lifetime_exceeded,
    wants_own_call,
)

if TYPE_CHECKING:
    from datetime import datetime

FAILED = [Status.REJECTED, Status.EXPIRED, Status.DEAD]
SETTLED = [Status.RESOLVED, *FAILED]
TRANSIENT = fault(FaultKind.TRANSIENT, "Timeout", "no answer")
THROTTLED = fault(FaultKind.THROTTLED)
SYSTEMIC = fault(FaultKind.SYSTEMIC, "AccessDeniedException", "not you")
HOUR = timedelta(hours=1)


def remember(asked: Submission, known: Outcome | None, policy: Policy = POLICY) -> object:
    """What is decided before a call."""
    return before_call(asked, known, NOW, policy)


def verdict(
    result: Answer | Fault,
    tries: Tries | None = None,
    asked: Submission | None = None,
    *,
    policy: Policy = POLICY,
    draw: float = 0.5,
) -> Verdict:
    """What is decided after a call, the first if nothing else is said."""
    tries = tries or Tries(attempts=int(counts(result)), failures=1)
    return after_call(asked or submission(), result, tries, now=NOW, draw=draw, policy=policy)


def expired_unasked(asked: Submission, attempts: int = 0) -> Outcome:
    """The outcome of a token that is too old."""
    return outcome(
        Status.EXPIRED,
        asked,
        attempts=attempts,
        error_code="LifetimeExceeded",
        error_message=lifetime_exceeded(asked, NOW).error_message,
    )


# --- before a call ---


def test_an_unknown_token_is_called_for() -> None:
    """A token that the ledger does not know, and that lives, is asked of AWS."""
    asked = submission(received_at=ago(minutes=1), first_seen=ago(minutes=2))
    assert remember(asked, None) == Call(ago(minutes=2))


@pytest.mark.parametrize(("age", "called"), [(14_399.999, True), (14_400, False), (99_999, False)])
def test_no_call_is_made_past_the_lifetime(age: float, *, called: bool) -> None:
    """From the age of its lifetime on a token expires without a call."""
    asked = submission(first_seen=ago(seconds=age), attempts=2)
    decided = remember(asked, None)
    if called:
        assert decided == Call(asked.first_seen)
    else:
        assert decided == Store(expired_unasked(asked, attempts=2))
        assert isinstance(decided, Store)
        assert decided.outcome.error_message


def test_the_lifetime_is_the_operators() -> None:
    """An operator may set a shorter lifetime than AWS's."""
    short = replace(POLICY, lifetime=timedelta(minutes=10))
    asked = submission(first_seen=ago(minutes=10))
    assert isinstance(remember(asked, None, short), Store)
    assert isinstance(remember(asked, None), Call)


def test_age_runs_from_what_the_ledger_knows() -> None:
    """A token that was submitted before is as old as its first submission."""
    asked = submission(received_at=ago(seconds=1))
    known = outcome(Status.DEAD, first_seen=ago(hours=3.9), settled_at=ago(hours=1))
    assert remember(asked, known) == Call(ago(hours=3.9))
    older = replace(known, first_seen=ago(hours=4))
    assert remember(asked, older) == Store(expired_unasked(asked))


def test_resolved_is_answered_from_the_ledger() -> None:
    """A resolved token is answered again without a call, for as long as AWS would."""
    known = outcome(message_id="first", first_seen=ago(hours=4), settled_at=ago(hours=3))
    assert remember(submission(message_id="new"), known) == Repeat(known, stored=True)


@pytest.mark.parametrize("older", ["submission", "ledger"])
def test_resolved_is_answered_expired_after_four_hours(older: str) -> None:
    """A new submission more than 4 h after the first is told what AWS would say, unwritten."""
    long_ago = ago(hours=4, milliseconds=1)
    asked = submission(first_seen=long_ago if older == "submission" else ago(seconds=1))
    known = outcome(
        message_id="first", first_seen=long_ago if older == "ledger" else ago(seconds=2)
    )
    assert remember(asked, known) == Repeat(expired_unasked(asked), stored=False)


def test_resolved_is_answered_for_four_hours_even_with_a_short_lifetime() -> None:
    """The operator's lifetime bounds calls, not answers that are known already."""
    short = replace(POLICY, lifetime=timedelta(minutes=1))
    known = outcome(first_seen=ago(hours=2))
    assert remember(submission(), known, short) == Repeat(known)


@pytest.mark.parametrize("status", FAILED)
@pytest.mark.parametrize(
    ("age", "stands"), [(0, True), (29.999, True), (30, False), (3_600, False)]
)
def test_failures_are_remembered_for_30_seconds(
    status: Status, age: float, *, stands: bool
) -> None:
    """What failed is answered from the ledger for 30 s, and then tried afresh while it may live."""
    known = outcome(
        status, message_id="first", settled_at=ago(seconds=age), first_seen=ago(hours=2)
    )
    decided = remember(submission(message_id="new"), known)
    assert decided == (Repeat(known) if stands else Call(ago(hours=2)))


@pytest.mark.parametrize("status", FAILED)
def test_a_failure_of_a_far_future_is_tried_afresh(status: Status) -> None:
    """One that a release before has settled by a clock hours ahead is repeated to nobody."""
    known = outcome(status, message_id="first", settled_at=NOW + timedelta(hours=5))
    assert isinstance(remember(submission(message_id="new"), known), Call)


def test_a_row_that_does_not_know_its_first_sight_was_seen_when_it_was_settled() -> None:
    """Rows of the release before have no first sight, and their received_at is a publisher's."""
    known = outcome(received_at=ago(hours=9), settled_at=ago(hours=3), first_seen=None)
    assert remember(submission(message_id="new"), known) == Repeat(known)
    failed = replace(known, status=Status.DEAD)
    assert remember(submission(message_id="new"), failed) == Call(ago(hours=3))


def test_nothing_is_settled_by_age_where_clocks_disagree() -> None:
    """With database and AWS apart an old token is called for, and resolved stays resolved."""
    old = submission(first_seen=ago(hours=9), message_id="new")
    assert before_call(old, None, NOW, POLICY, ages_count=False) == Call(ago(hours=9))
    known = outcome(first_seen=ago(hours=9), settled_at=ago(hours=9), message_id="first")
    assert before_call(old, known, NOW, POLICY, ages_count=False) == Repeat(known)


def test_a_publishers_times_settle_nothing() -> None:
    """A token whose browser was there five hours ago, it is said, is called for all the same."""
    asked = submission(received_at=ago(hours=5), first_seen=ago(seconds=1))
    assert remember(asked, None) == Call(ago(seconds=1))


@pytest.mark.parametrize("status", FAILED)
def test_an_outcome_of_another_clocks_future_stands(status: Status) -> None:
    """A failure settled by a replica whose clock is ahead is still answered from the ledger."""
    known = outcome(status, message_id="first", settled_at=NOW + timedelta(seconds=9))
    assert remember(submission(message_id="new"), known) == Repeat(known)


@pytest.mark.parametrize("status", SETTLED)
def test_a_redelivered_message_gets_its_own_outcome(status: Status) -> None:
    """After a crash between commit and ack the message is answered with what was committed."""
    asked = submission(message_id="m", redelivered=True, first_seen=ago(hours=9))
    known = outcome(status, message_id="m", settled_at=ago(hours=8), first_seen=ago(hours=9))
    assert remember(asked, known) == Repeat(known)


@pytest.mark.parametrize("changes", [{"redelivered": False}, {"message_id": "other"}])
def test_another_submission_is_not_taken_for_a_redelivery(changes: dict[str, Any]) -> None:
    """Only a redelivery of the very message that was settled is answered regardless of age."""
    asked = replace(submission(message_id="m", redelivered=True), **changes)
    known = outcome(Status.DEAD, message_id="m", settled_at=ago(minutes=5))
    assert isinstance(remember(asked, known), Call)


@pytest.mark.parametrize("status", FAILED)
@pytest.mark.parametrize("redelivered", [True, False])
def test_a_replay_calls_whatever_failed_before_it(status: Status, *, redelivered: bool) -> None:
    """On-call's replay is not answered with a failure that is older than it, or as old."""
    asked = submission(message_id="m", replay=ago(seconds=1), redelivered=redelivered)
    known = outcome(status, message_id="m", settled_at=ago(seconds=1), first_seen=ago(minutes=9))
    assert remember(asked, known) == Call(ago(minutes=9))


@pytest.mark.parametrize("status", FAILED)
@pytest.mark.parametrize("message_id", ["m", "other"])
def test_a_replay_told_twice_is_answered_once(status: Status, message_id: str) -> None:
    """What was settled after the replay was asked for is its answer, however long ago."""
    asked = submission(message_id="m", replay=ago(hours=1))
    known = outcome(status, message_id=message_id, settled_at=ago(minutes=59))
    assert remember(asked, known) == Repeat(known)


@pytest.mark.parametrize("age", [1, 5])
def test_a_replay_of_what_is_resolved_is_answered(age: int) -> None:
    """A resolved token stays so: its replay is told, whenever that was and however old it is."""
    asked = submission(replay=ago(seconds=1), first_seen=ago(hours=age))
    known = outcome(Status.RESOLVED, settled_at=ago(minutes=5), first_seen=ago(hours=age))
    assert remember(asked, known) == Repeat(known)


@pytest.mark.parametrize("status", FAILED)
def test_a_replay_past_its_lifetime_is_not_called_for(status: Status) -> None:
    """Even a replay spends no call on a token past its lifetime."""
    asked = submission(replay=ago(seconds=1))
    known = outcome(status, first_seen=ago(hours=4), settled_at=ago(hours=3))
    assert remember(asked, known) == Store(expired_unasked(asked))


@pytest.mark.parametrize(
    ("late", "replay", "wants"),
    [
        (True, ago(seconds=1), True),
        (False, ago(seconds=1), False),
        (True, ago(seconds=3), False),
        (True, None, False),
    ],
)
def test_a_replay_that_came_after_the_call_wants_its_own(
    *, late: bool, replay: datetime | None, wants: bool
) -> None:
    """Who came when the call had been made goes back for another only as a later replay."""
    failed = outcome(Status.REJECTED, settled_at=ago(seconds=2))
    resolved = outcome(Status.RESOLVED, settled_at=ago(seconds=2))
    asked = submission(replay=replay)
    assert wants_own_call(failed, asked, late=late) is wants
    assert not wants_own_call(resolved, asked, late=late)


ASKED = st.builds(
    lambda age, extra, replay, redelivered, message_id: submission(
        message_id=message_id,
        received_at=ago(seconds=age),
        first_seen=ago(seconds=age + extra),
        replay=None if replay is None else ago(seconds=replay),
        redelivered=redelivered,
    ),
    st.floats(0, 20_000),
    st.floats(0, 20_000),
    st.none() | st.floats(0, 20_000),
    st.booleans(),
    st.sampled_from(["m-1", "m-2"]),
)
KNOWN = st.none() | st.builds(
    lambda status, received, settled: outcome(
        status, first_seen=ago(seconds=received), settled_at=ago(seconds=settled)
    ),
    st.sampled_from(SETTLED),
    st.floats(0, 20_000),
    st.floats(-5, 20_000),
)


@given(ASKED, KNOWN)
def test_before_a_call_every_rule_holds_at_once(asked: Submission, known: Outcome | None) -> None:
    """A call is for the living alone, and never for what is resolved or was replayed since."""
    decided = remember(asked, known)
    earliest = min(asked.first_seen, known.seen_since) if known else asked.first_seen
    match decided:
        case Call(since):
            assert since == earliest
            assert NOW - since < POLICY.lifetime
            assert known is None or known.status is not Status.RESOLVED
            assert known is None or asked.replay is None or known.settled_at <= asked.replay
        case Repeat(said, stored):
            assert known is not None
            assert stored is (said is known)
        case Store(said):
            assert NOW - earliest >= POLICY.lifetime
            assert said.status is Status.EXPIRED
            assert known is None or known.status is not Status.RESOLVED


# --- after a call ---


def test_an_answer_is_stored_whole() -> None:
    """An answer settles its token as resolved, with all members and the offer type."""
    asked = submission(offer_type="free-trial", received_at=ago(seconds=4))
    decided = verdict(ANSWER, Tries(attempts=3), asked)
    assert decided == Store(
        outcome(
            asked=asked,
            attempts=3,
            product_code=ANSWER.product_code,
            customer_aws_account_id=ANSWER.customer_aws_account_id,
            customer_identifier=ANSWER.customer_identifier,
            license_arn=ANSWER.license_arn,
            agreement_id=ANSWER.agreement_id,
            offer_type="free-trial",
        )
    )


@pytest.mark.parametrize("status", [Status.REJECTED, Status.EXPIRED])
def test_a_fault_of_the_tokens_settles_it_at_once(status: Status) -> None:
    """What is wrong with a token settles that token with AWS's code and words."""
    found = Fault(FaultKind.TOKEN, "InvalidTokenException", "no such token", status)
    decided = verdict(found, Tries(attempts=2))
    assert decided == Store(
        outcome(
            status,
            attempts=2,
            error_code="InvalidTokenException",
            error_message="no such token",
        )
    )


@pytest.mark.parametrize("kind", [FaultKind.TOKEN, FaultKind.TRANSIENT, FaultKind.SYSTEMIC])
def test_words_that_repeat_the_token_lose_it(kind: FaultKind) -> None:
    """Neither what is stored nor what is said of a halt repeats the token or grows without end."""
    told = f"no good: {BUYER} " + "x" * 5_000
    exhausted = Tries(attempts=6, systemic_answers=0)
    decided = verdict(Fault(kind, f"Code{BUYER}", told, Status.REJECTED), exhausted)
    said = decided.fault if isinstance(decided, Halt) else decided
    assert BUYER not in repr(said)
    assert len(repr(said)) < 3_000
    assert "no good" in repr(said)


@pytest.mark.parametrize(
    ("result", "counted"),
    [
        (ANSWER, True),
        (fault(FaultKind.TOKEN), True),
        (TRANSIENT, True),
        (THROTTLED, False),
        (SYSTEMIC, False),
    ],
)
def test_attempts_are_calls_neither_throttled_nor_systemic(
    result: Answer | Fault, *, counted: bool
) -> None:
    """Throttling and faults of ours use up no attempt; everything else does."""
    assert counts(result) is counted


@pytest.mark.parametrize("systemic_answers", [0, 1, 2])
@pytest.mark.parametrize("attempts", [0, 6, 100])
def test_a_fault_of_ours_halts(systemic_answers: int, attempts: int) -> None:
    """A systemic answer settles nothing, whatever was spent: calls stop."""
    decided = verdict(SYSTEMIC, Tries(attempts, 1, 0.0, systemic_answers))
    assert decided == Halt(SYSTEMIC)


def test_a_systemic_answer_that_follows_one_token_is_that_tokens() -> None:
    """At the third strike, others succeeding in between, the token is dead."""
    decided = verdict(SYSTEMIC, Tries(attempts=1, systemic_answers=3))
    assert isinstance(decided, Store)
    assert decided.outcome.status is Status.DEAD
    assert decided.outcome.error_code == "AccessDeniedException"
    assert decided.outcome.attempts == 1


def test_throttling_is_tried_again_soon_and_then_moved() -> None:
    """A throttled token is tried again while the buyer waits, then moves without losing a try."""
    assert verdict(THROTTLED, Tries(failures=1), draw=0.5) == TryAgain(0.05)
    late = Tries(attempts=100, failures=9, seconds=1.9)
    assert verdict(THROTTLED, late, draw=0.5) == RetryIn("5s", counted=False)
    assert verdict(THROTTLED, late, submission(returns=2)) == RetryIn("5s", counted=False)


def test_throttling_never_kills() -> None:
    """However often it is throttled, no token dies of it."""
    for attempts in range(20):
        decided = verdict(THROTTLED, Tries(attempts, 50, 100.0))
        assert decided == RetryIn("5s", counted=False)


def test_what_passes_is_tried_again_soon_while_quick_attempts_last() -> None:
    """The first attempts but as many as there are delays are spent at once, within 2 s."""
    assert POLICY.quick_attempts == 3
    assert isinstance(verdict(TRANSIENT, Tries(attempts=1, failures=1)), TryAgain)
    assert isinstance(verdict(TRANSIENT, Tries(attempts=2, failures=2)), TryAgain)
    assert verdict(TRANSIENT, Tries(attempts=3, failures=3)) == RetryIn("5s", counted=True)


def test_no_new_try_begins_after_two_seconds() -> None:
    """A retry that would begin 2 s after the first call or later is left to the retry queues."""
    just = Tries(attempts=1, failures=1, seconds=1.949)
    assert verdict(TRANSIENT, just, draw=0.5) == TryAgain(0.05)
    assert verdict(TRANSIENT, replace(just, seconds=1.95), draw=0.5) == RetryIn("5s", counted=True)


def test_after_a_retry_queue_each_stay_is_one_call() -> None:
    """A message that came back from a retry queue is called for once and goes on to the next."""
    for returns, delay in enumerate(["30s", "2m", "2m", "2m"], start=1):
        decided = verdict(TRANSIENT, Tries(attempts=2, failures=1), submission(returns=returns))
        assert decided == RetryIn(delay, counted=True)


def test_the_last_attempt_is_the_last() -> None:
    """Once the attempts are used up the token is dead, with AWS's code."""
    assert verdict(TRANSIENT, Tries(attempts=6)) == Store(
        outcome(Status.DEAD, attempts=6, error_code="Timeout", error_message="no answer")
    )


@pytest.mark.parametrize(
    ("attempts", "delays", "quick"),
    [(6, 3, 3), (1, 3, 1), (3, 3, 1), (4, 3, 1), (5, 3, 2), (100, 1, 99), (1, 16, 1)],
)
def test_quick_attempts_leave_one_for_each_delay(attempts: int, delays: int, quick: int) -> None:
    """As many attempts as there are delays are kept for the retry queues; one is always quick."""
    policy = Policy(attempts, tuple(f"{n}s" for n in range(delays)))
    assert policy.quick_attempts == quick


def life(
    policy: Policy, call_seconds: float, draw: float, result: Fault = TRANSIENT
) -> tuple[Outcome, list[str], list[float]]:
    """A token that always meets the same fault: its end, its delays, when its calls began."""
    attempts = returns = 0
    delays: list[str] = []
    starts: list[float] = []
    while True:
        asked = submission(attempts=attempts, returns=returns)
        elapsed, failures = 0.0, 0
        while True:
            starts.append(elapsed)
            elapsed += call_seconds
            attempts += counts(result)
            failures += 1
            tries = Tries(attempts, failures, elapsed)
            match after_call(asked, result, tries, now=NOW, draw=draw, policy=policy):
                case Store(end):
                    return end, delays, starts
                case TryAgain(seconds):
                    elapsed += seconds
                case RetryIn(delay, counted):
                    delays.append(delay)
                    returns += counted
                    break
                case other:
                    raise AssertionError(other)


def test_a_life_of_faults_has_exactly_its_attempts() -> None:
    """With the default settings six calls are made: three at once, then one after each delay."""
    end, delays, starts = life(POLICY, call_seconds=0.1, draw=0.5)
    assert (end.status, end.attempts, len(starts)) == (Status.DEAD, 6, 6)
    assert delays == ["5s", "30s", "2m"]


def test_a_life_of_time_outs_goes_through_more_delays() -> None:
    """Where a call takes longer than 2 s none is repeated at once, and the last delay repeats."""
    end, delays, starts = life(POLICY, call_seconds=5.0, draw=0.5)
    assert (end.attempts, len(starts)) == (6, 6)
    assert delays == ["5s", "30s", "2m", "2m", "2m"]


@given(
    st.integers(1, 30),
    st.integers(1, 6),
    st.floats(0, 6),
    st.floats(0, 1, exclude_max=True),
)
def test_every_life_ends_after_its_attempts(
    attempts: int, delays: int, call_seconds: float, draw: float
) -> None:
    """Whatever the policy, exactly `attempts` calls are made, none later than 2 s into a stay."""
    policy = Policy(attempts, tuple(f"d{n}" for n in range(delays)))
    end, gone, starts = life(policy, call_seconds, draw)
    assert end.attempts == len(starts) == attempts
    assert all(start < 2.0 for start in starts)
    assert gone == [policy.delay(n) for n in range(len(gone))]
    assert all(int(a[1:]) <= int(b[1:]) for a, b in pairwise(gone))


FAULTS = st.builds(
    fault,
    st.sampled_from(FaultKind),
    st.text(max_size=20),
    st.text(max_size=60),
)
TRIES = st.builds(
    Tries, st.integers(0, 200), st.integers(0, 5_000), st.floats(0, 1e6), st.integers(0, 9)
)
POLICIES = st.builds(
    lambda attempts, delays: Policy(attempts, tuple(f"{n}s" for n in range(delays))),
    st.integers(1, 100),
    st.integers(1, 16),
)


@given(
    st.just(ANSWER) | FAULTS,
    TRIES,
    POLICIES,
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 300),
)
def test_after_a_call_there_is_always_a_verdict(
    result: Answer | Fault, tries: Tries, policy: Policy, draw: float, returns: int
) -> None:
    """Every result gets a verdict; none is tried again past 2 s or past its attempts."""
    decided = verdict(result, tries, submission(returns=returns), policy=policy, draw=draw)
    match decided:
        case TryAgain(seconds):
            assert seconds >= 0
            assert tries.seconds + seconds < 2.0
            assert isinstance(result, Fault)
            assert result.kind is FaultKind.THROTTLED or tries.attempts < policy.quick_attempts
        case RetryIn(delay, counted):
            assert delay in policy.delays
            assert isinstance(result, Fault)
            assert counted is (result.kind is FaultKind.TRANSIENT)
            assert not counted or tries.attempts < policy.attempts
        case Halt(found):
            assert found.kind is FaultKind.SYSTEMIC
            assert tries.systemic_answers < 3
        case Store(end):
            assert end.attempts == tries.attempts
            assert (end.status is Status.RESOLVED) is isinstance(result, Answer)
            assert (end.error_code is None) is isinstance(result, Answer)


def when(outcome_: Outcome) -> tuple[datetime, datetime]:
    """Its two times."""
    return outcome_.received_at, outcome_.settled_at
