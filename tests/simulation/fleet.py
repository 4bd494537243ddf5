"""Replicas that call the market, each with twenty workers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from worker.core.backoff import CALLS, FullJitter

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.simulation.market import Market, Token
    from tests.simulation.paces import Pace
    from tests.simulation.virtual import Agenda

WORKERS = 20
LATENCY_SECONDS = (0.03, 0.07)
LOOK_SECONDS = 0.1
EARLIER_SECONDS = 0.001  # a timer is set anew for no less


class Replica:
    """Workers with one token each, from a backlog.

    Args:
        name: Its number.
        pace: When it may call.
        tokens: The next token, or None while there is none.
        workers: How many tokens may be under way at once.
        latency: Between which times AWS answers, in seconds.
        backoff: How long a throttled token waits before it asks for a permit again.
    """

    def __init__(
        self,
        name: int,
        *,
        agenda: Agenda,
        market: Market,
        pace: Pace,
        chance: random.Random,
        tokens: Callable[[], Token | None],
        workers: int = WORKERS,
        latency: tuple[float, float] = LATENCY_SECONDS,
        backoff: FullJitter = CALLS,
    ) -> None:
        self.name, self.pace = name, pace
        self._latency = latency
        self._agenda, self._market, self._chance, self._tokens = agenda, market, chance, tokens
        self._backoff = backoff
        self._waiting: deque[Token] = deque()
        self._idle = workers
        self._timer = float("inf")
        self.alive = True
        agenda.at(0.0, self._look)

    def _look(self) -> None:
        """Take up tokens, while there are any and workers for them."""
        if not self.alive:
            return
        while self._idle and (token := self._tokens()):
            self._idle -= 1
            self._waiting.append(token)
        self._pump()
        self._agenda.at(self._agenda.now + LOOK_SECONDS, self._look)

    def _pump(self) -> None:
        now = self._agenda.now
        while self._waiting and (wait := self.pace.wait(now)) <= 0:
            self.pace.take(now)
            self._call(self._waiting.popleft())
        self.pace.asked(waiting=bool(self._waiting))
        if self._waiting and now + wait < self._timer - EARLIER_SECONDS and wait < LOOK_SECONDS:
            due = self._timer = now + wait
            self._agenda.at(due, lambda: self._ring(due))

    def _ring(self, due: float) -> None:
        if self.alive and due == self._timer:
            self._timer = float("inf")
            self._pump()

    def _call(self, token: Token) -> None:
        half = self._chance.uniform(*self._latency) / 2
        self._agenda.at(self._agenda.now + half, lambda: self._arrive(token, half))

    def _arrive(self, token: Token, half: float) -> None:
        good = self._market.call(token, self.name, self._agenda.now)
        self._agenda.at(self._agenda.now + half, lambda: self._answer(token, good=good))

    def _answer(self, token: Token, *, good: bool) -> None:
        if not self.alive:
            return
        if good:
            self.pace.answered(self._agenda.now)
            self._next()
            return
        self.pace.throttled(token.number, self._agenda.now)
        token.failures += 1
        delay = self._backoff.delay(token.failures, self._chance.random())
        self._agenda.at(self._agenda.now + delay, lambda: self._again(token))

    def _next(self) -> None:
        token = self._tokens()
        if token is None:
            self._idle += 1
            return
        self._again(token)

    def _again(self, token: Token) -> None:
        if not self.alive:
            return
        (self._waiting.appendleft if token.failures else self._waiting.append)(token)
        self._pump()
