"""Plays scenarios with many seeds, and judges what they come to."""

from __future__ import annotations

import multiprocessing
import statistics
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation.scenarios import SCENARIOS, UNLUCKY
from worker.core.rate import quota

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tests.simulation.bounds import Bound, Scenario

    # A scenario's name, a seed, and constants of the law that are others.
    Play = tuple[str, int, Mapping[str, float]]
    Plays = Callable[[Sequence[Play]], Iterable[Mapping[str, float]]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one measure of a scenario came to.

    Attributes:
        values: By seed.
    """

    scenario: str
    measure: str
    bound: Bound
    values: Mapping[int, float]

    @property
    def kept(self) -> bool:
        """Whether the bound is."""
        return self.bound.kept([*self.values.values()])

    @property
    def mean(self) -> float:
        """Of all seeds."""
        return statistics.fmean(self.values.values())

    @property
    def tail(self) -> float:
        """The worst but for a fiftieth."""
        return self.bound.tail_of([*self.values.values()])


@contextmanager
def constants(changed: Mapping[str, float]) -> Iterator[None]:
    """The law with other constants meanwhile; it looks them up in its module at each report."""
    usual = {name: getattr(quota, name) for name in changed}
    vars(quota).update(changed)
    try:
        yield
    finally:
        vars(quota).update(usual)


def measured(play: Play) -> Mapping[str, float]:
    """What one seed comes to."""
    name, seed, changed = play
    with constants(changed):
        return (SCENARIOS | UNLUCKY)[name].measure(seed)


@contextmanager
def processes(number: int) -> Iterator[Plays]:
    """What plays in so many processes at once, in order; in this one where one is enough."""
    if number == 1:
        yield lambda plays: map(measured, plays)
        return
    with multiprocessing.get_context("fork").Pool(number) as pool:
        yield lambda plays: pool.imap(measured, plays)


def judged(
    scenarios: Mapping[str, Scenario],
    seeds: Sequence[int],
    plays: Plays,
    changed: Mapping[str, float] | None = None,
) -> Iterator[Judgement]:
    """Each measure of each scenario over the seeds."""
    for name, scenario in scenarios.items():
        runs = list(plays([(name, seed, changed or {}) for seed in seeds]))
        for measure, bound in scenario.bounds.items():
            found = [run[measure] for run in runs]
            yield Judgement(name, measure, bound, dict(zip(seeds, found, strict=True)))
