"""Seeds that were once outside a bound: recorded beside the scenarios, and played ever after.

A judgement on fresh seeds that finds a bound broken records the worst of them, each with what it
came to. A single seed is no mean, and one in fifty may be outside the tail; so what is asserted of
it is only that it comes to nothing worse than when it was recorded. It was the worst of its many
then: where it comes to worse still, after some change, that is hardly chance.
"""

from __future__ import annotations

import csv
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.simulation.bounds import Bound
    from tests.simulation.judging import Judgement

FILE: Final = Path(__file__).with_name("recorded.csv")
MOST: Final = 3  # of a judgement
SLACK: Final = 1e-3  # values are recorded with four digits


@dataclass(frozen=True, slots=True, order=True)
class Recorded:
    """A seed, and what a measure of a scenario came to with it."""

    scenario: str
    measure: str
    seed: int
    value: float

    def worse(self, bound: Bound, now: float) -> bool:
        """Whether what it comes to now is worse."""
        slack = SLACK * abs(self.value)
        return now > self.value + slack if bound.most else now < self.value - slack


def outside(judgement: Judgement) -> list[Recorded]:
    """The worst seeds, as far as they are outside the tail: a mean may break without any."""
    values = judgement.values
    worst = judgement.bound.worst_first(values)[:MOST]
    return [
        Recorded(judgement.scenario, judgement.measure, seed, float(f"{values[seed]:.4g}"))
        for seed in worst
        if not judgement.bound.inside(values[seed])
    ]


def seeds(file: Path = FILE) -> list[Recorded]:
    """Those that are recorded."""
    with file.open(encoding="utf-8", newline="") as lines:
        return [
            Recorded(row["scenario"], row["measure"], int(row["seed"]), float(row["value"]))
            for row in csv.DictReader(lines)
        ]


def record(found: Iterable[Recorded], file: Path = FILE) -> None:
    """Add seeds; one that is there already stays as it was recorded first."""
    every = {(each.scenario, each.measure, each.seed): each for each in (*found, *seeds(file))}
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(field.name for field in fields(Recorded))
        writer.writerows(astuple(each) for each in sorted(every.values()))
