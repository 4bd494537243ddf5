"""Moves tokens out of the live line: those past the patience, and an origin's surplus."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from worker.core import holds
from worker.core.records import Lane
from worker.core.token.demotion import Demotion, Refusals
from worker.core.token.turns import Company, in_hand_at_most
from worker.runtime.token.in_flight import InFlight, InFlightToken, Stage, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from worker.core.records import Origin
    from worker.ports import PublishFailure
    from worker.runtime.clock import Clock
    from worker.runtime.gate import Gate
    from worker.runtime.token.settlement import Settlement
    from worker.runtime.token.waiting import WaitingRoom

log: Final = structlog.get_logger()

_IDLE_SECONDS: Final = 0.25
_MOVING_SECONDS: Final = 0.1
_MOVED_SECONDS: Final = 0.02  # as many again may have been delivered by then
_AT_QUOTA_SECONDS: Final = 1.0
_UNCALLED: Final = frozenset({Stage.LOOKUP, Stage.WAITING})


class Demoter:
    """Looks at the live line, and demotes tokens that have waited too long.

    Those go to the backlog lane. What one origin has in hand beyond its turns goes to the crowd's,
    so that no other token waits behind it: see `worker.core.token.turns`.

    It looks by itself and not when a permit is had: at a low rate permits are seconds apart, and
    thousands may have to move.

    Args:
        waiting: Where the lines are.
        in_flight: All tokens under way; one that could not be moved joins them again.
        settlement: Carries moves out.
        gate: While it is shut, calls wait for something else than the quota.
        limits: Whether a call waits for a permit at this moment.
        rate: Calls a second that this replica may make.
        behind_seconds: How long whoever comes now will wait in the broker's queue.
        patience_seconds: How long a buyer is taken to wait.
        clock: What time it is.
    """

    def __init__(
        self,
        *,
        waiting: WaitingRoom,
        in_flight: InFlight,
        settlement: Settlement,
        gate: Gate,
        limits: Callable[[], bool],
        rate: Callable[[], float],
        behind_seconds: Callable[[], float],
        patience_seconds: float,
        clock: Clock,
    ) -> None:
        self._rate = rate
        self._behind_seconds = behind_seconds
        self._company = Company()
        self._clock = clock
        self._waiting = waiting
        self._in_flight = in_flight
        self._settlement = settlement
        self._gate = gate
        self._limits = limits
        self._demotion = Demotion(patience_seconds)
        self._limited_at = float("-inf")
        self._began = 0.0
        self._moved = 0
        self._crowding = Refusals()

    def change(self, patience_seconds: float) -> None:
        """Go on with another patience."""
        self._demotion.patience_seconds = patience_seconds

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            moving = self._demotion.moving
            with suppress(TimeoutError):
                async with asyncio.timeout(self._demotion.bound_seconds if moving else None):
                    await self._waiting.wait()
            moved = self.look()
            rest = _MOVING_SECONDS if self._demotion.moving else _IDLE_SECONDS
            await asyncio.sleep(_MOVED_SECONDS if moved else rest)

    def look(self) -> int:
        """Look once, and move what is to be demoted; how many tokens that were."""
        return self._look_at_turns() + self._look_at_waits()

    def _look_at_turns(self) -> int:
        """Move what origins have too many of."""
        now = asyncio.get_running_loop().time()
        if not self._at_quota(now):
            return 0
        by_origin: defaultdict[Origin, list[InFlightToken]] = defaultdict(list)
        for token in self._waiting.waiting_in(Lane.LIVE):
            if not token.leader.submission.replay:
                by_origin[token.origin].append(token)
        for origin in by_origin:
            self._company.seen(origin, now)
        most = in_hand_at_most(self._rate())
        surplus = [
            token
            for origin, in_flight in by_origin.items()
            if len(in_flight) > most and self._company.has(origin, now)
            for token in in_flight[most:]
        ]
        chosen = surplus[: int(min(self._crowding.allowed(now), len(surplus)))]
        for token in chosen:
            self._move(token, Lane.CROWD, self._crowding)
        return len(chosen)

    def _look_at_waits(self) -> int:
        """Move those who have waited too long."""
        now, instant = asyncio.get_running_loop().time(), self._clock.now()
        line = [
            (token, seconds)
            for token in self._waiting.waiting_in(Lane.LIVE)
            if (seconds := buyers_wait(token, instant)) is not None
        ]
        oldest = max((seconds for token, seconds in line if not came_back(token)), default=0.0)
        behind = self._behind_seconds()
        before = self._demotion.moving
        most = self._demotion.look(now, oldest, at_quota=self._at_quota(now), behind_seconds=behind)
        self._tell(before, now, oldest, behind)
        if not most:
            return 0
        demoted = self._to_demote(line, behind)
        chosen = demoted[: int(min(most, len(demoted)))]
        for token in chosen:
            self._move(token, Lane.BACKLOG, self._demotion.refusals)
        return len(chosen)

    def _to_demote(
        self, line: list[tuple[InFlightToken, float]], behind: float
    ) -> list[InFlightToken]:
        """Which are demoted by their wait, and which by their place."""
        by_place = sorted((token for token, _ in line), key=lambda token: token.arrived)
        first = set(by_place[: self._demotion.surplus(len(line), self._rate(), behind)])
        return [
            token
            for token, seconds in line
            if token in first or self._demotion.is_past_bound(seconds)
        ]

    def _at_quota(self, now: float) -> bool:
        """Whether calls have waited for permits lately, and wait for nothing else."""
        if self._limits():
            self._limited_at = now
        return not self._gate.reasons and now - self._limited_at < _AT_QUOTA_SECONDS

    def _tell(self, before: bool, now: float, oldest: float, behind: float) -> None:  # noqa: FBT001 - a state
        moving = self._demotion.moving
        if moving and not before:
            self._began = now
            log.info(
                "demotion_began",
                oldest_seconds=round(oldest, 1),
                behind_seconds=round(behind, 1),
            )
        elif before and not moving:
            seconds = round(now - self._began, 1)
            log.info("demotion_ended", submissions=self._moved, seconds=seconds)
            self._moved = 0

    def _move(self, token: InFlightToken, lane: Lane, refusals: Refusals) -> None:
        self._waiting.leave(token)
        self._settlement.demote(
            token,
            lane,
            moved=partial(self._confirmed, lane, refusals),
            refused=partial(self._refused, refusals, token),
        )
        if token.waiters:  # bulk copies that wait for the same token
            self._waiting.rejoin(token)

    def _confirmed(self, lane: Lane, refusals: Refusals) -> None:
        self._moved += lane is Lane.BACKLOG
        refusals.confirmed(asyncio.get_running_loop().time())

    def _refused(
        self, refusals: Refusals, token: InFlightToken, waiter: Waiter, failure: PublishFailure
    ) -> None:
        now = asyncio.get_running_loop().time()
        if seconds := refusals.refused(now):
            log.warning("demotion_held", reason=str(failure), again_in_seconds=seconds)
        if waiter.delivery.alive:
            self._take_back(token, waiter)

    def _take_back(self, token: InFlightToken, waiter: Waiter) -> None:
        """Back to its place, or to the token that a copy has begun meanwhile."""
        anew = self._in_flight.of(token.key) is None
        joined = self._in_flight.rejoin(token, waiter)
        if joined.stage in _UNCALLED and holds.DRAIN in self._gate.reasons:
            self._settlement.give_back(joined, [waiter])
        elif anew or joined.line not in {None, joined.lane}:
            self._waiting.leave(joined)
            self._waiting.rejoin(joined)


def buyers_wait(token: InFlightToken, now: datetime) -> float | None:
    """Seconds for which the buyer at the door has waited; None for one that is not to be moved.

    Of several the latest counts, for that one is the least likely to have left. It is the buyer's
    wait and not the token's age, which may have begun with a visit hours ago. A replay that came
    through the live lane is on-call's own, who watches what becomes of it.
    """
    live = [waiter.submission for waiter in token.waiters if waiter.lane is Lane.LIVE]
    if not live or any(submission.replay for submission in live):
        return None
    return (now - max(submission.received_at for submission in live)).total_seconds()


def came_back(token: InFlightToken) -> bool:
    """Whether it was in a retry queue, so that its age says nothing about the line.

    It is demoted together with others, but never starts a demotion by itself: while fresh tokens
    hardly wait, one that failed once stays in its lane too.
    """
    return any(waiter.submission.returns for waiter in token.waiters if waiter.lane is Lane.LIVE)
