"""A scenario: honest buyers beside a bad neighbour, and the figures that it ends with."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from benchmarks.quota.figures import Figure, quantile, share
from benchmarks.quota.fleet import SETTINGS
from harness.installation import Installation, simulating
from harness.system import tell
from tests.acceptance.outcomes import sha256
from tests.neighbours.callers import Caller, calling
from tests.neighbours.watching import becomes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from harness.ground import Ground
    from harness.programs import Simulator, Worker

_PATIENCE_SECONDS: Final = 5.0
_DELAYS: Final = SETTINGS["WORKER_RETRY__DELAYS"]
_REPORT: Final = "NEIGHBOUR_REPORT"
_GRACE_SECONDS: Final = 20.0


@dataclass(slots=True)
class Scenario:
    """What a bad neighbour has around it.

    Attributes:
        name: For the report.
        seed: Of all that is left to chance.
        chance: Draws that belong to the seed.
        stage: The servers, and how replicas are started on them.
        buyers: The honest ones, who wait for replies.
        others: Whoever else brings tokens that AWS takes for good.
        settings: Of all replicas.
    """

    name: str
    seed: int
    chance: random.Random
    stage: Installation
    buyers: Caller
    others: list[Caller] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def simulator(self) -> Simulator:
        """Who stands in for AWS."""
        return self.stage.simulator

    def start(self, **settings: str) -> Worker:
        """Start a replica with the settings that an installation has by default."""
        return self.stage.start(**(SETTINGS | self.settings | settings))

    async def run(self, **settings: str) -> Worker:
        """Start a replica and wait until it is ready."""
        worker = self.start(**settings)
        await worker.ready()
        return worker

    @asynccontextmanager
    async def caller(
        self, name: str, *, keys: int = 1, arguments: Mapping[str, object] | None = None
    ) -> AsyncIterator[Caller]:
        """Another caller beside the buyers."""
        made = calling(self.stage.web, name, self.chance, keys=keys, arguments=arguments)
        async with made as other:
            self.others.append(other)
            yield other

    async def served(self) -> list[Figure]:
        """How the buyers fared, and whether any token was settled wrongly."""
        await self.buyers.all_answered(_GRACE_SECONDS)
        waits = self.buyers.waits()
        replies = sum(map(len, self.buyers.replies.values()))
        in_time = sum(wait <= _PATIENCE_SECONDS for wait in waits)
        wrong, unsettled = await self._ledger()
        return [
            Figure("buyers", len(waits)),
            Figure("within 5 s", share(in_time, len(waits)), "%", least=99),
            Figure("p50", quantile(waits, 0.5), "s"),
            Figure("p99", quantile(waits, 0.99), "s"),
            Figure("replies a submission", replies / len(waits), most=1.05),
            Figure("settled wrongly", wrong, most=0),
            Figure("not settled", unsettled, most=0),
        ]

    async def _ledger(self) -> tuple[int, int]:
        """How many good tokens were settled wrongly, and how many were not settled in time."""
        callers = (self.buyers, *self.others)
        good = {sha256(token) for one in callers for token in one.tokens.values()}
        good -= {sha256(token) for one in callers for token in dying(one)}
        rows = "SELECT token_sha256, status FROM resolution.outcomes"
        settled: dict[bytes, str] = {}

        async def all_settled() -> bool:
            settled.update(dict(map(tuple, await self.stage.schema.rows(rows))))
            return good <= settled.keys()

        await becomes(all_settled, _GRACE_SECONDS, every=1.0)
        letters = await self.stage.schema.rows("SELECT token_sha256 FROM resolution.dead_letter")
        wrong = {one for one, status in settled.items() if status != "resolved"}
        wrong |= {row["token_sha256"] for row in letters} | self._told_wrongly()
        return len(wrong & good), len(good - settled.keys())

    def _told_wrongly(self) -> set[bytes]:
        """The tokens of those who had a reply that is not the one they are due."""
        return {
            sha256(one.tokens[message_id])
            for one in (self.buyers, *self.others)
            for message_id, replies in one.replies.items()
            if any(reply.status != "resolved" for reply in replies)
        }

    def conclude(self, figures: Sequence[Figure]) -> None:
        """Print the line of the report, and judge."""
        said = ", ".join(
            f"{one.what} {one.measured}" + (f" ({one.bound})" if one.bound else "")
            for one in figures
        )
        tell(f"scenario={self.name!r} seed={self.seed}: {said}", _REPORT)
        missed = [f"{one.what} {one.measured} ({one.bound})" for one in figures if not one.held]
        assert not missed, ", ".join(missed)
        for worker in self.stage.started:
            assert "Traceback" not in worker.said


def dying(caller: Caller) -> list[str]:
    """The tokens that a caller brought to be given up, rightly: AWS never answers them."""
    return [token for token in caller.tokens.values() if token.startswith("fail-")]


@asynccontextmanager
async def scenario(
    ground: Ground,
    name: str,
    seed: int,
    *simulator: str,
    delays: str = _DELAYS,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Scenario]:
    """A scenario until the block ends, with its own virtual host, database, simulator and buyers.

    Args:
        ground: The servers.
        name: For the report.
        seed: Of all that is left to chance.
        simulator: Options of the simulator.
        delays: Of the retry queues.
        settings: Of all replicas, beside those of an installation by default.
    """
    print(f"NEIGHBOUR_SEED={seed}")  # noqa: T201 - so that a failure can be had again
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        running = stack.enter_context(simulating(ground.home, *simulator))
        ground = replace(ground, simulator=running)
        stage = await stack.enter_async_context(ground.stage(delays=delays))
        stack.callback(stage.clear)
        buyers = await stack.enter_async_context(calling(stage.web, "buyers", chance))
        await buyers.listen()
        given = {"WORKER_RETRY__DELAYS": delays, **(settings or {})}
        yield Scenario(name, seed, chance, stage, buyers, settings=given)
