"""What becomes of a token: the decisions, returned and not acted upon.

`before_call` decides from the ledger and the clock, `after_call` from the result of a call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from worker.core import aws_causes, backoff, secrecy
from worker.core.records import Answer, Fault, FaultKind, Outcome, Status, Submission

AWS_LIFETIME: Final = timedelta(hours=4)
FAILURE_MEMORY: Final = timedelta(seconds=30)
QUICK_WINDOW_SECONDS: Final = 2.0
MOST_SYSTEMIC_ANSWERS: Final = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator decides about trying again.

    Attributes:
        attempts: Calls that count before a token is dead.
        delays: The retry queues by name (`5s`), in their order; the last repeats.
        lifetime: Age past which no call is spent on a token.
    """

    attempts: int
    delays: tuple[str, ...]
    lifetime: timedelta = AWS_LIFETIME

    @property
    def quick_attempts(self) -> int:
        """Attempts that may be spent in process; the rest is kept for the retry queues.

        So a fault of AWS's that lasts for less than all the delays together kills no token.
        """
        return max(1, self.attempts - len(self.delays))

    def delay(self, returns: int) -> str:
        """The retry queue for a message that a counted fault has sent into one so many times."""
        return self.delays[min(returns, len(self.delays) - 1)]


# --- before a call ---


@dataclass(frozen=True, slots=True)
class Call:
    """Call AWS. `first_seen` is the ledger's, if that is earlier."""

    first_seen: datetime


@dataclass(frozen=True, slots=True)
class Repeat:
    """Answer without writing; `stored` if it is what the ledger has."""

    outcome: Outcome
    stored: bool = True


@dataclass(frozen=True, slots=True)
class Store:
    """Settle the token with this outcome: commit it, answer, ack."""

    outcome: Outcome


def before_call(
    submission: Submission,
    known: Outcome | None,
    now: datetime,
    policy: Policy,
    *,
    ages_count: bool = True,
) -> Call | Repeat | Store:
    """Decide before a call: is it answered already, is it too old, or shall AWS be asked?

    Args:
        submission: Who asks.
        known: What the ledger has of the token.
        now: The current time, by the database's clock.
        policy: The operator's.
        ages_count: Whether a token may be settled for its age; see `clock.DatabaseClock`.
    """
    first_seen = submission.first_seen
    if known is not None:
        first_seen = min(first_seen, known.seen_since)
        if _stands(known, submission, now, ages_count=ages_count):
            return Repeat(known)
        if known.status is Status.RESOLVED:
            # Resolved stays resolved in the ledger; this buyer gets the answer that AWS would give.
            return Repeat(lifetime_exceeded(submission, now), stored=False)
    if is_expired(first_seen, now, policy, ages_count=ages_count):
        return Store(lifetime_exceeded(submission, now))
    return Call(first_seen)


def is_expired(first_seen: datetime, now: datetime, policy: Policy, *, ages_count: bool) -> bool:
    """Whether a token is past its lifetime, so that no call is spent on it; see `before_call`."""
    return ages_count and now - first_seen >= policy.lifetime


def _stands(known: Outcome, submission: Submission, now: datetime, *, ages_count: bool) -> bool:
    """Whether what is known answers this submission too."""
    if submission.replay is not None:
        return answers_replay(known, submission.replay)
    if submission.redelivered and known.message_id == submission.message_id:
        return True  # its own outcome, committed before a crash: no new submission
    if known.status is Status.RESOLVED:
        age = now - min(submission.first_seen, known.seen_since)
        return age <= AWS_LIFETIME or not ages_count
    # One that was settled in the future was so by a clock that was off: it is tried afresh.
    return abs(now - known.settled_at) < FAILURE_MEMORY


def answers_replay(known: Outcome, replay: datetime) -> bool:
    """Whether an outcome answers a replay that was asked for at an instant.

    A failure must be later than the request: then it is this replay's own, delivered a second time,
    or that of another submission since. What is resolved stays so.
    """
    return known.status is Status.RESOLVED or known.settled_at > replay


def wants_own_call(stood: Outcome, submission: Submission, *, late: bool) -> bool:
    """Whether a submission that joined after the call was made needs a call of its own."""
    return late and submission.replay is not None and not answers_replay(stood, submission.replay)


def lifetime_exceeded(submission: Submission, now: datetime) -> Outcome:
    """The outcome of a token on which no call is spent any more."""
    return _outcome(
        submission,
        Status.EXPIRED,
        submission.attempts,
        now,
        error_code=aws_causes.LIFETIME_EXCEEDED,
        error_message="the token was older than its lifetime when its turn came: no call was made",
    )


# --- after a call ---


@dataclass(frozen=True, slots=True)
class Tries:
    """What has been spent on a token so far, the latest call included where it counts.

    Attributes:
        attempts: Calls that count.
        failures: Calls since it was delivered that did not resolve it; spreads the waits.
        seconds: Time since its first call after it was delivered.
        systemic_answers: Systemic answers to it with other calls succeeding in between.
    """

    attempts: int = 0
    failures: int = 0
    seconds: float = 0.0
    systemic_answers: int = 0


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Call again in this process, after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Into the retry queue of this delay; `counted` if the fault is one that counts."""

    delay: str
    counted: bool


@dataclass(frozen=True, slots=True)
class Halt:
    """The fault is ours: stop calling. The token keeps its place and loses no attempt."""

    fault: Fault


Verdict = Store | TryAgain | RetryIn | Halt


def after_call(
    submission: Submission,
    result: Answer | Fault,
    tries: Tries,
    *,
    now: datetime,
    draw: float,
    policy: Policy,
    affordable: bool = True,
) -> Verdict:
    """Decide after a call.

    Args:
        submission: Whose token was called for.
        result: What came of the call.
        tries: What has been spent, this call included.
        now: The current time, by the database's clock.
        draw: A uniform draw from [0, 1).
        policy: The operator's.
        affordable: Whether the retry budget allows another call at once after a passing fault.
    """
    if isinstance(result, Answer):
        return Store(_resolved(submission, result, tries, now))
    match result.kind:
        case FaultKind.TOKEN:
            status = result.status or Status.REJECTED
            return Store(_failed(submission, status, result, tries, now))
        case FaultKind.SYSTEMIC if (
            not result.sent or tries.systemic_answers < MOST_SYSTEMIC_ANSWERS
        ):
            return Halt(_as_stored(result, submission))
        case FaultKind.THROTTLED:
            return _soon(tries, draw) or RetryIn(policy.delays[0], counted=False)
        case FaultKind.TRANSIENT if tries.attempts < policy.attempts:
            at_once = affordable and _has_quick_attempts(submission, tries, policy)
            quick = _soon(tries, draw) if at_once else None
            return quick or RetryIn(policy.delay(submission.returns), counted=True)
        case _:  # attempts are used up, or the systemic answers follow this token alone
            return Store(_failed(submission, Status.DEAD, result, tries, now))


def counts(result: Answer | Fault) -> bool:
    """Whether a call counts as an attempt: neither throttled nor a fault of ours."""
    return isinstance(result, Answer) or result.kind in {FaultKind.TOKEN, FaultKind.TRANSIENT}


def _has_quick_attempts(submission: Submission, tries: Tries, policy: Policy) -> bool:
    # After a stay in a retry queue the buyer is no longer at the door: one call a stay.
    return submission.returns == 0 and tries.attempts < policy.quick_attempts


def _soon(tries: Tries, draw: float) -> TryAgain | None:
    delay = backoff.CALLS.delay(max(1, tries.failures), draw)
    return TryAgain(delay) if tries.seconds + delay < QUICK_WINDOW_SECONDS else None


def _resolved(submission: Submission, answer: Answer, tries: Tries, now: datetime) -> Outcome:
    return _outcome(
        submission,
        Status.RESOLVED,
        tries.attempts,
        now,
        product_code=answer.product_code,
        customer_aws_account_id=answer.customer_aws_account_id,
        customer_identifier=answer.customer_identifier,
        license_arn=answer.license_arn,
        agreement_id=answer.agreement_id,
    )


def _failed(
    submission: Submission, status: Status, fault: Fault, tries: Tries, now: datetime
) -> Outcome:
    stored = _as_stored(fault, submission)
    return _outcome(
        submission,
        status,
        tries.attempts,
        now,
        error_code=stored.code,
        error_message=stored.message,
    )


def _as_stored(fault: Fault, submission: Submission) -> Fault:
    """A fault as it may be stored: an answer may repeat the token, and be of any length."""
    token = submission.token.value
    return replace(
        fault,
        code=secrecy.harmless_code(fault.code, token),
        message=secrecy.without(fault.message, token),
    )


def _outcome(
    submission: Submission, status: Status, attempts: int, now: datetime, **said: str | None
) -> Outcome:
    return Outcome(
        key=submission.key,
        status=status,
        message_id=submission.message_id,
        attempts=attempts,
        received_at=submission.received_at,
        settled_at=now,
        offer_type=submission.offer_type,
        first_seen=submission.first_seen,
        **said,
    )
