"""The show itself: messages go in, a worker dies, the other one finishes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.lab.demo.listener import Audience
    from worker.lab.demo.plan import Plan
    from worker.lab.demo.processes import Player
    from worker.lab.demo.progress import Tell
    from worker.lab.demo.publishing import Publishing

BUYERS_PER_SECOND: Final = 250.0

_LOOK_SECONDS: Final = 0.05
_STALLED_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Killed:
    """A worker that was killed.

    Attributes:
        name: Which one.
        pid: Its process.
        settled: How many messages had been answered by then.
        total: Of how many.
    """

    name: str
    pid: int
    settled: int
    total: int


@dataclass(frozen=True, slots=True)
class Pipes:
    """A running `publish` for each lane."""

    live: Publishing
    backlog: Publishing


class Performance:
    """Publishes everything, kills the victim half way, and waits for the rest.

    Attributes:
        killed: Who was killed, once it is done.
    """

    def __init__(
        self, plan: Plan, listening: Audience, pipes: Pipes, victim: Player, tell: Tell
    ) -> None:
        self._plan = plan
        self._listening = listening
        self._pipes = pipes
        self._victim = victim
        self._tell = tell
        self.killed: Killed | None = None

    async def run(self) -> None:
        """Play until every message is answered, or until no answer has come for a long time.

        Raises:
            BaseExceptionGroup: The broker does not take the tokens, or does not tell of them.
        """
        await self._listening.submit(self._plan.raw)
        async with asyncio.TaskGroup() as group:
            feeding = [
                group.create_task(self._pipes.live.feed(self._plan.live, BUYERS_PER_SECOND)),
                group.create_task(self._pipes.backlog.feed(self._plan.backlog)),
            ]
            await self._follow(feeding)
            for task in feeding:
                task.cancel()

    async def _follow(self, feeding: list[asyncio.Task[None]]) -> None:
        loop = asyncio.get_running_loop()
        settled, changed_at = 0, loop.time()
        while settled < self._plan.total:
            self._listening.check()
            if self._listening.settled > settled or not all(task.done() for task in feeding):
                settled, changed_at = self._listening.settled, loop.time()
            elif loop.time() > changed_at + _STALLED_SECONDS:
                self._tell.say(f"no answer has come for {_STALLED_SECONDS:.0f} s: giving up")
                return
            if self.killed is None and 2 * settled >= self._plan.total:
                self._kill(settled)
            self._tell.progress(self._published(), settled, self._plan.total)
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.gather(*feeding)

    def _published(self) -> int:
        return self._pipes.live.fed + self._pipes.backlog.fed + len(self._plan.raw)

    def _kill(self, settled: int) -> None:
        victim, total = self._victim, self._plan.total
        self.killed = Killed(victim.name, victim.server.pid, settled, total)
        victim.kill()
        self._tell.say(
            f"{victim.name}: killed with SIGKILL, pid {self.killed.pid}, when {settled:,} of"
            f" {total:,} were settled; the other one goes on"
        )
