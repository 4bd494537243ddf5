"""The tables of docs/pacing.md."""

from __future__ import annotations

import multiprocessing
import statistics
from typing import TYPE_CHECKING, Final

from tests.simulation.runs import Run
from tests.simulation.scenarios import SCENARIOS, UNLUCKY
from worker.core.backoff import CALLS, FullJitter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.simulation.scenarios import Bound, Scenario

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


def judged(
    scenarios: Mapping[str, Scenario], seeds: Sequence[int], *, processes: int = 2
) -> Iterator[tuple[str, bool]]:
    """Lines of Markdown: each scenario's measures over the seeds, and whether its bounds hold."""
    yield "| scenario | measure | bound, mean / tail | mean | tail | worst (seed) | |", True
    yield "| --- | --- | --- | --- | --- | --- | --- |", True
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for name, scenario in scenarios.items():
            runs = pool.starmap(_measured, [(name, seed) for seed in seeds], chunksize=1)
            for measure, bound in scenario.bounds.items():
                yield _line(name, measure, bound, [run[measure] for run in runs], seeds)


def _measured(name: str, seed: int) -> Mapping[str, float]:
    return (SCENARIOS | UNLUCKY)[name].measure(seed)


def _line(
    name: str, measure: str, bound: Bound, values: list[float], seeds: Sequence[int]
) -> tuple[str, bool]:
    worst, seed = sorted(zip(values, seeds, strict=True), reverse=bound.most)[0]
    sign, kept = "≤" if bound.most else "≥", bound.kept(values)
    figures = (statistics.fmean(values), bound.tail_of(values), worst)
    mean, tail, most = (f"{value:.3g}" for value in figures)
    verdict = "" if kept else "**broken**"
    line = (
        f"| {name} | {measure} | {sign} {bound.mean:g} / {bound.tail:g} "
        f"| {mean} | {tail} | {most} ({seed}) | {verdict} |"
    )
    return line, kept
