"""Runs: so many replicas, a quota, and what happens meanwhile."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulation.fleet import LATENCY_SECONDS, WORKERS, Replica
from tests.simulation.market import Market, Token
from tests.simulation.paces import Aimd, Row, Shared, Static, Unpaced
from tests.simulation.virtual import Agenda
from worker.core.backoff import CALLS, FullJitter
from worker.core.rate import quota
from worker.lab.simulator.quota import UNLIMITED, Quota

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.paces import Pace


@dataclass
class Run:
    """One run in virtual time.

    Attributes:
        scheme: `shared`, `jitter`, `static` (1.4 times the quota) or `aimd`.
        mix: Draws the next token's own throttles, from a number in [0, 1).
        busy: Whether there are tokens for a replica at a time.
    """

    scheme: str = "shared"
    replicas: int = 4
    rate: float | None = 40.0
    burst: float | None = None
    seed: int = 0
    workers: int = WORKERS
    latency: tuple[float, float] = LATENCY_SECONDS
    backoff: FullJitter = CALLS
    initial: float = 10.0
    ceiling: float | None = None
    busy: Callable[[int, float], bool] = lambda _replica, _now: True
    mix: Callable[[float], int] = lambda _draw: 0
    agenda: Agenda = field(init=False, default_factory=Agenda)
    market: Market = field(init=False)
    row: Row = field(init=False)
    fleet: list[Replica] = field(init=False)
    trace: list[tuple[float, float]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.market = Market(
            UNLIMITED if self.rate is None else Quota(self.rate, self.burst or max(1.0, self.rate))
        )
        self.row = Row(self.agenda, self.chance, quota.initial(self.initial, 0.0), self.ceiling)
        self.fleet = [self._replica(name) for name in range(self.replicas)]

    def _replica(self, name: int) -> Replica:
        def tokens() -> Token | None:
            busy = self.busy(name, self.agenda.now)
            return Token(self.mix(self.chance.random())) if busy else None

        return Replica(
            name,
            agenda=self.agenda,
            market=self.market,
            pace=self._pace(name),
            chance=self.chance,
            tokens=tokens,
            workers=self.workers,
            latency=self.latency,
            backoff=self.backoff,
        )

    def _pace(self, name: int) -> Pace:
        each = self.market.quota.rate / self.replicas
        if self.scheme == "jitter":
            return Unpaced()
        if self.scheme == "static":
            return Static(1.4 * each)
        if self.scheme == "aimd":
            return Aimd(self.initial / self.replicas)
        return Shared(name, self.row)

    def until(self, time: float) -> Run:
        """Go on until a time."""
        while self.agenda.now < time:
            self.agenda.run(min(time, self.agenda.now + 1.0))
            self.trace.append((self.agenda.now, self.row.state.rate))
        return self

    def change(self, rate: float, burst: float | None = None) -> Run:
        """Another quota from now on."""
        self.market.change(rate, burst or max(1.0, rate), self.agenda.now)
        return self

    def kill(self, name: int) -> Run:
        """End a replica, without a word."""
        self.fleet[name].alive = False
        pace = self.fleet[name].pace
        if isinstance(pace, Shared):
            pace.alive = False
        return self

    def outsider(self, rate: float, until: float) -> Run:
        """Somebody else uses the quota too, at a steady rate, and does not give way."""

        def call() -> None:
            self.market.call(Token(), OUTSIDER, self.agenda.now)
            if self.agenda.now < until:
                self.agenda.at(self.agenda.now + 1 / rate, call)

        self.agenda.at(self.agenda.now, call)
        return self


OUTSIDER = -1
