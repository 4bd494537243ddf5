"""The workers, and what they tell of themselves."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

from harness.programs import fetch
from harness.waiting import eventually
from worker.core.records import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.installation import Installation
    from harness.programs import Worker

# In full, whatever the stage of the tests has in their place.
SETTINGS: Final = {
    "WORKER_RATE__INITIAL": "10",
    "WORKER_RETRY__ATTEMPTS": "6",
    "WORKER_RETRY__DELAYS": "5s,30s,2m",
}
_START_SECONDS: Final = 90.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What one worker told.

    Attributes:
        calls: Calls to AWS so far, whatever came of them.
        served: Answers to submissions so far, by lane.
        shared: The rate of all replicas together, a second.
        local: Its own.
        open: Whether it holds its calls for a fault of ours.
    """

    calls: float = 0.0
    served: dict[str, float] = field(default_factory=dict)
    shared: float = math.nan
    local: float = math.nan
    open: bool = False


class Fleet:
    """The workers that were started on a stage."""

    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers
        self._ports: dict[Worker, int] = {}

    @classmethod
    async def start(cls, stage: Installation, replicas: int, settings: dict[str, str]) -> Fleet:
        """Start so many, and wait until all are ready.

        Raises:
            AssertionError: One of them has ended, or is not ready in time.
        """
        fleet = cls([stage.start(**(SETTINGS | settings)) for _ in range(replicas)])
        await eventually(fleet._ready_or_faulty, "all workers are ready", _START_SECONDS)
        assert not fleet.faults(), "; ".join(fleet.faults())
        return fleet

    async def _ready_or_faulty(self) -> bool:
        for worker in self.workers:
            if worker not in self._ports and (lines := worker.logged("http_listening")):
                self._ports[worker] = lines[0]["port"]
        answers = [(await self._get(worker, "readyz"))[0] for worker in self._ports]
        return answers == [200] * len(self.workers) or bool(self.faults())

    async def _get(self, worker: Worker, path: str) -> tuple[int, str]:
        return await fetch(f"http://127.0.0.1:{self._ports[worker]}/{path}")

    def kill(self) -> None:
        """End the last one with SIGKILL."""
        self.workers.pop().kill()

    async def read(self) -> list[Reading]:
        """What each tells now."""
        return await asyncio.gather(*(self._read(worker) for worker in self.workers))

    async def _read(self, worker: Worker) -> Reading:
        _, text = await self._get(worker, "metrics")
        calls, served, rates, is_open = 0.0, {lane.label: 0.0 for lane in Lane}, {}, False
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                match sample.name:
                    case "resolution_aws_calls_total":
                        calls += sample.value
                    case "resolution_outcomes_total":
                        served[sample.labels["lane"]] += sample.value
                    case "resolution_rate_per_second":
                        rates[sample.labels["scope"]] = sample.value
                    case "resolution_breaker_open":
                        is_open = bool(sample.value)
        return Reading(
            calls, served, rates.get("shared", math.nan), rates.get("local", math.nan), is_open
        )

    def complaints(self) -> dict[str, int]:
        """How often each event was logged that is a warning or worse."""
        return Counter(
            line["event"]
            for worker in self.workers
            for line in worker.log
            if line["level"] in {"warning", "error", "critical"}
        )

    def faults(self) -> list[str]:
        """What the workers did that no worker should."""
        return [
            f"worker {worker.process.pid} {what}: {worker.said[-1500:]}"
            for worker in self.workers
            for what, did in (
                (f"ended with {worker.process.poll()}", worker.process.poll() is not None),
                ("wrote a traceback", "Traceback" in worker.said),
            )
            if did
        ]


def served(before: Sequence[Reading], after: Sequence[Reading], lane: str) -> float:
    """How many submissions of a lane all of them answered in between."""
    pairs = zip(before, after, strict=True)
    return sum(then.served[lane] - first.served[lane] for first, then in pairs)


def calls(before: Sequence[Reading], after: Sequence[Reading]) -> list[float]:
    """How many calls each made in between."""
    return [then.calls - first.calls for first, then in zip(before, after, strict=True)]
