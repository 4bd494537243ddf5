"""The tables of docs/pacing.md."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from tests.simulation.runs import Run
from worker.core.backoff import CALLS, FullJitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPLICAS: Final = (1, 4, 16)
QUOTA: Final = 25.0
PATIENT: Final = FullJitter(base_seconds=0.1, cap_seconds=20.0)
SCHEMES: Final = {
    "full-jitter backoff only, up to 20 s": ("jitter", PATIENT),
    "full-jitter backoff only, up to 1 s": ("jitter", CALLS),
    "static rate, 1.4 times too high": ("static", CALLS),
    "AIMD per replica": ("aimd", CALLS),
    "shared rate (ours)": ("shared", CALLS),
}


def throttled(scheme: str, replicas: int, seed: int = 0) -> float:
    """The share of calls throttled at a quota of 25/s, from half a minute on, for a minute."""
    kind, backoff = SCHEMES[scheme]
    run = Run(kind, replicas, QUOTA, seed=seed, backoff=backoff).until(90)
    return run.market.throttled_share(30, 90)


def schemes(seed: int = 0) -> Iterator[str]:
    """Lines of Markdown: each scheme with 1, 4 and 16 replicas."""
    yield "| calls throttled, replicas: | 1 | 4 | 16 |"
    yield "| --- | --- | --- | --- |"
    for scheme in SCHEMES:
        shares = " | ".join(f"{throttled(scheme, n, seed):.1%}" for n in REPLICAS)
        yield f"| {scheme} | {shares} |"


def scenarios(seeds: range = range(8)) -> Iterator[str]:
    """Lines of Markdown: what is promised, and what it comes to, over several seeds."""
    yield "| quota, replicas | measure | mean | worst |"
    yield "| --- | --- | --- | --- |"
    for name, measure, values, worst in _measures(seeds):
        yield f"| {name} | {measure} | {statistics.fmean(values):.1%} | {worst(values):.1%} |"


def _measures(
    seeds: range,
) -> Iterator[tuple[str, str, list[float], Callable[[list[float]], float]]]:
    steady = [Run(seed=seed).until(150).market for seed in seeds]
    yield "40/s, 4", "quota used", [m.used(30, 150) for m in steady], min
    yield "40/s, 4", "calls throttled", [m.throttled_share(30, 150) for m in steady], max
    yield "40/s, 4", "Jain's index", [m.fairness(30, 150) for m in steady], min
    low = [Run(replicas=8, rate=2.0, seed=seed).until(150).market for seed in seeds]
    yield "2/s, 8", "quota used", [m.used(30, 150) for m in low], min
    yield "2/s, 8", "calls throttled", [m.throttled_share(30, 150) for m in low], max
    step = [Run(seed=s).until(60).change(10).until(100).change(40).until(130) for s in seeds]
    first = [run.market.throttled_share(60, 70) for run in step]
    yield "40 → 10 → 40, 4", "throttled in the first 10 s", first, max
    later = [run.market.throttled_share(80, 100) for run in step]
    yield "40 → 10 → 40, 4", "throttled from 20 s on", later, max
    risen = [run.market.used(125, 130) for run in step]
    yield "40 → 10 → 40, 4", "quota used 25 to 30 s after the rise", risen, min
    killed = [Run(seed=seed).until(60).kill(1).until(75).market for seed in seeds]
    yield "40/s, 4, one killed", "quota used 5 to 15 s later", [m.used(65, 75) for m in killed], min
