"""Ways of pacing: ours, and what else is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from worker.core.rate import quota, shares
from worker.core.rate.pacing import Gcra
from worker.core.rate.slowing import Slowing
from worker.core.rate.usage import Usage

if TYPE_CHECKING:
    import random

    from tests.simulation.virtual import Agenda
    from worker.core.rate.fleet import Report
    from worker.core.rate.state import SharedRate

EXPIRY_SECONDS = 2.5
RENEWAL_SECONDS = (0.6, 1.2)  # as in worker.runtime.rate.lease_keeper
GRACE_SECONDS = 10.0
VOID_RATIO = 1.5
GROWTH = 1.0
HALF = 0.5


class Pace(Protocol):
    """When a replica may call."""

    def wait(self, now: float) -> float:
        """Seconds until a permit could be taken."""
        ...

    def take(self, now: float) -> None:
        """Take the permit."""
        ...

    def answered(self, now: float) -> None:
        """A call was let through."""
        ...

    def throttled(self, _token: int, now: float) -> None:
        """A call was throttled."""
        ...

    def asked(self, *, waiting: bool) -> None:
        """Whether tokens wait for a permit."""
        ...


class Unpaced:
    """Calls at once; only the retries wait."""

    def wait(self, _now: float) -> float:
        """No wait."""
        return 0.0

    def take(self, now: float) -> None:
        """Nothing to take."""

    def answered(self, now: float) -> None:
        """Not looked at."""

    def throttled(self, _token: int, now: float) -> None:
        """Not looked at."""

    def asked(self, *, waiting: bool) -> None:
        """Not looked at."""


class Static(Unpaced):
    """A fixed rate for each replica."""

    def __init__(self, rate: float) -> None:
        self._gcra = Gcra(rate)

    def wait(self, now: float) -> float:
        """As the rate has it."""
        return self._gcra.wait(now)

    def take(self, now: float) -> None:
        """As the rate has it."""
        self._gcra.take(now)


class Aimd(Static):
    """A replica for itself: half after a throttle, once a second, and a little more each second."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self._rate = rate
        self._cut_at = self._grown_at = 0.0

    def wait(self, now: float) -> float:
        """At the rate grown till now."""
        self._rate += GROWTH * (now - self._grown_at)
        self._grown_at = now
        self._gcra.change(self._rate, now)
        return super().wait(now)

    def throttled(self, _token: int, now: float) -> None:
        """Halve the rate, not more than once a second."""
        if now - self._cut_at > 1.0:
            self._rate, self._cut_at = max(0.1, self._rate * HALF), now


@dataclass
class Row:
    """The row in the database: the shared rate, and what each replica was granted."""

    agenda: Agenda
    chance: random.Random
    state: SharedRate
    ceiling: float | None = None
    claims: dict[int, tuple[float, shares.Claim]] = field(default_factory=dict)
    singly: bool = False
    arrival: float = 0.0

    @property
    def rate(self) -> float:
        """What is in use of the shared rate."""
        return self.state.rate if self.ceiling is None else min(self.state.rate, self.ceiling)

    def renew(self, replica: int, report: Report) -> float:
        """Take a report and grant a share."""
        now = self.agenda.now
        others = [
            claim
            for who, (at, claim) in self.claims.items()
            if who != replica and now - at < EXPIRY_SECONDS
        ]
        self.state = quota.advance(self.state, report, now, 1 + len(others))
        share = shares.share(self.rate, shares.Claim(report.need, 0.0), others)
        self.claims[replica] = now, shares.Claim(report.need, share)
        replicas = 1 + len(others)
        self.singly = shares.singly(self.rate, replicas, now_singly=self.singly)
        return share

    def reserve(self, now: float) -> float:
        """When the fleet's next single permit may be used; one put far off is drawn nearer."""
        farthest = now + max(GRACE_SECONDS, (1 + len(self.claims)) / self.rate)
        due = max(now, min(self.arrival, farthest))
        self.arrival = due + 1 / self.rate
        return due


class Shared:
    """Ours: a share of one rate, leased about each second."""

    def __init__(self, replica: int, row: Row) -> None:
        self._replica, self._row = replica, row
        self._gcra = Gcra(0.1)
        self._share = 0.1
        self._slowing = Slowing()
        self._usage = Usage(since=0.0)
        self._waiting = False
        self._reserved: float | None = None
        self._reserved_at_rate = 0.0
        self.alive = True
        row.agenda.at(row.chance.uniform(0.0, 0.2), self._renew)

    def _renew(self) -> None:
        if not self.alive:
            return
        now = self._row.agenda.now
        if self._waiting:
            self._usage.starved(1.0)
        report = self._usage.report(now)
        self._share = self._row.renew(self._replica, report)
        self._slowing.leased(self._share, now)
        self._row.agenda.at(now + self._row.chance.uniform(*RENEWAL_SECONDS), self._renew)

    def wait(self, now: float) -> float:
        """As the share and the own slowing have it."""
        if self._row.singly:
            rate = self._row.rate
            if self._reserved is None or rate > VOID_RATIO * self._reserved_at_rate:
                slowed = 1 / self._slowing.factor(now) - 1
                self._reserved = self._row.reserve(now) + slowed / self._share
                self._reserved_at_rate = rate
            return max(0.0, self._reserved - now)
        self._reserved = None
        self._gcra.change(self._share * self._slowing.factor(now), now)
        return self._gcra.wait(now)

    def take(self, now: float) -> None:
        """Count the call."""
        self._reserved = None
        self._gcra.take(now)

    def answered(self, now: float) -> None:
        """Count the success."""
        self._slowing.answered(now)
        self._usage.not_throttled()

    def throttled(self, token: int, now: float) -> None:
        """Slow down, and remember the token."""
        self._slowing.throttled(now)
        self._usage.refused(token, now)

    def asked(self, *, waiting: bool) -> None:
        """What the next report says of the need."""
        self._waiting = waiting
