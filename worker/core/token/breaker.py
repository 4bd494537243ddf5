"""When a replica stops its calls, when it looks whether that is over, and whose fault it is.

Each replica decides for itself: AWS may refuse one (a wrong secret, a clock that is off, an
authority it does not trust) and accept the others. So no replica is stopped because another was
refused. What the others report is used for two things only: a replica that is refused while others
are able stands aside, so that the tokens it has go to them; and once another is accepted it looks
at once whether it is too, so that a fault that was everybody's is over for all within a second or
two.

Probes cost a call each. The first is made at once; after that the fleet takes turns, one a second.
Times are seconds of the caller's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core import aws_errors, backoff

if TYPE_CHECKING:
    from worker.core.records import Fault

_NEVER: Final = float("-inf")
# Nobody waits for a replica that stands aside, and its probes are taken from the others' quota.
_ASIDE_FACTOR: Final = 5.0


@dataclass(slots=True)
class BreakerState:
    """What one replica knows about whether AWS accepts it.

    Attributes:
        fault: Why its calls are stopped, or None while they are made.
        since: When they were stopped.
        refusal_confirmed: A probe was refused too: the fault follows no single token.
        probes: Probes that were refused since.
        next_probe_at: When the next one is due.
        needs_turn: Whether the next one has to wait for the fleet's turn.
        accepted_at: When AWS last accepted a call or a probe of ours.
        able: Other live replicas that AWS does not refuse.
        accepted_elsewhere: When AWS last accepted a call of one of those.
    """

    fault: Fault | None = None
    since: float = _NEVER
    refusal_confirmed: bool = False
    probes: int = 0
    next_probe_at: float = _NEVER
    needs_turn: bool = False
    accepted_at: float | None = None
    able: int = 0
    accepted_elsewhere: float | None = None
    _refused_at: float = _NEVER
    _followed: bool = False

    @property
    def is_own(self) -> bool:
        """Whether this process alone is short of something: then it looks by itself."""
        return self.fault is not None and aws_errors.is_shortage(self.fault)

    @property
    def stands_aside(self) -> bool:
        """Whether the tokens in hand are better left to other replicas."""
        return self.refusal_confirmed and self.able > 0

    @property
    def alone(self) -> bool:
        """Whether AWS has accepted other replicas since it refuses this one."""
        accepted = self.accepted_elsewhere
        return self.stands_aside and accepted is not None and accepted > self.since

    def stop(self, fault: Fault, now: float) -> bool:
        """A call met a fault of ours: stop, and look at once; False if they were."""
        if self.fault is not None:
            return False
        self.fault, self.since = fault, now
        self.next_probe_at, self.needs_turn = now, False
        return True

    def accepted(self, now: float) -> None:
        """AWS accepted a call or a probe of ours."""
        self.accepted_at = now

    def resume(self) -> None:
        """A probe was accepted: calls go on."""
        self.fault = None
        self.refusal_confirmed = self._followed = False
        self.probes = 0

    def refused(self, asked: float, now: float, draw: float) -> None:
        """A probe was refused.

        Args:
            asked: When it was made.
            now: When its answer was there.
            draw: Uniform in [0, 1).
        """
        self.refusal_confirmed = True
        self.probes += 1
        self._refused_at = asked
        self.needs_turn = not self.is_own
        factor = _ASIDE_FACTOR if self.alone else 1.0
        self.next_probe_at = now + factor * backoff.probe_wait(self.probes - 1, draw)

    def follow(self, able: int, accepted_elsewhere: float | None, now: float) -> bool:
        """Hear of the others; whether a probe is due now that was not before."""
        self.able, self.accepted_elsewhere = able, accepted_elsewhere
        if not able:
            self._followed = False
        news = accepted_elsewhere is not None and accepted_elsewhere > self._refused_at
        if not (self.refusal_confirmed and news) or self._followed:
            return False
        # Once: who is refused while another is accepted has a fault of its own.
        self._followed = True
        self.next_probe_at, self.needs_turn = now, False
        return True
