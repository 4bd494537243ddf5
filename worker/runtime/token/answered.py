"""Tells metrics and log of submissions that were answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from worker.core.records import Status
from worker.core.token import replies

if TYPE_CHECKING:
    from worker.core.records import Lane, Malformed, Outcome
    from worker.core.token.verdict import Policy
    from worker.ports import Telemetry
    from worker.runtime.clock import Clock
    from worker.runtime.token.in_flight import Waiter

log: Final = structlog.get_logger()


class Answered:
    """Whom a submission's answer is told besides its sender."""

    def __init__(self, telemetry: Telemetry, policy: Policy, clock: Clock) -> None:
        self._telemetry = telemetry
        self._policy = policy
        self._clock = clock

    def token(self, waiter: Waiter, outcome: Outcome, *, repeated: bool) -> None:
        """A submission was answered and acked."""
        submission = waiter.submission
        seconds = (self._clock.now() - submission.received_at).total_seconds()
        resolved = outcome.status is Status.RESOLVED
        self._telemetry.submission(waiter.lane)
        self._telemetry.outcome(outcome.status, waiter.lane, repeated=repeated)
        if submission.replay is None:
            lane = submission.entry_lane or waiter.lane
            self._telemetry.waited(lane, seconds, resolved=resolved and not repeated)
        if not resolved:
            lifetime = self._policy.lifetime
            how = replies.loss(submission, outcome, lifetime, repeated=repeated)
            if how is not None:
                self._telemetry.lost(how)
        log.debug(
            "token_settled",
            message_id=submission.message_id,
            fingerprint=submission.token.fingerprint,
            status=outcome.status.value,
            error_code=outcome.error_code,
            repeated=repeated,
            waited_seconds=round(seconds, 3),
        )

    def malformed(self, malformed: Malformed, lane: Lane) -> None:
        """A message that can't be read was answered and acked."""
        seconds = (self._clock.now() - malformed.received_at).total_seconds()
        self._telemetry.submission(lane)
        self._telemetry.outcome(Status.MALFORMED, lane, repeated=False)
        self._telemetry.waited(lane, seconds, resolved=False)
