"""The tables of docs/pacing.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulation.runs import Run
from worker.core.backoff import CALLS, FullJitter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.bounds import Bound
    from tests.simulation.judging import Judgement
    from tests.simulation.recorded import Recorded

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


JUDGED: Final = (
    "| scenario | measure | bound, mean / tail | mean | tail | worst (seed) | |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


def line(judgement: Judgement) -> str:
    """A line of Markdown: what a measure came to."""
    bound, values = judgement.bound, judgement.values
    seed = bound.worst_first(values)[0]
    mean, tail, worst = (f"{v:.3g}" for v in (judgement.mean, judgement.tail, values[seed]))
    return (
        f"| {judgement.scenario} | {judgement.measure} | {bound} "
        f"| {mean} | {tail} | {worst} ({seed}) | {'' if judgement.kept else '**broken**'} |"
    )


RECORDED: Final = (
    "| recorded seed | measure | bound of the tail | when recorded | now | |\n"
    "| --- | --- | --- | --- | --- | --- |"
)


def recorded_line(seed: Recorded, bound: Bound, now: float) -> str:
    """A line of Markdown: what a seed comes to that was once outside a bound."""
    verdict = "**worse**" if seed.worse(bound, now) else "" if bound.inside(now) else "outside"
    return (
        f"| {seed.scenario} ({seed.seed}) | {seed.measure} | {bound.sign} {bound.tail:g} "
        f"| {seed.value:.3g} | {now:.3g} | {verdict} |"
    )
