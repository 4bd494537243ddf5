"""A scenario, and what is asserted of its measures."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Measure = Callable[[int], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a measure is to come to over many seeds.

    Attributes:
        mean: For the mean of all seeds.
        tail: For all but the worst fiftieth of the seeds.
        most: Whether these are the most that is allowed; else they are the least.
    """

    mean: float
    tail: float
    most: bool = True

    @property
    def sign(self) -> str:
        """Of the comparison."""
        return "≤" if self.most else "≥"

    def __str__(self) -> str:
        return f"{self.sign} {self.mean:g} / {self.tail:g}"

    def tail_of(self, values: Sequence[float]) -> float:
        """The worst value but for a fiftieth of them."""
        return sorted(values, reverse=self.most)[len(values) // 50]

    def worst_first(self, values: Mapping[int, float]) -> list[int]:
        """The seeds, by what each came to."""
        return sorted(values, key=values.__getitem__, reverse=self.most)

    def inside(self, value: float) -> bool:
        """Whether a single seed's value is within the tail."""
        return value <= self.tail if self.most else value >= self.tail

    def kept(self, values: Sequence[float]) -> bool:
        """Whether the values of many seeds are within the bound."""
        found = ((statistics.fmean(values), self.mean), (self.tail_of(values), self.tail))
        return all(value <= bound if self.most else value >= bound for value, bound in found)


def at_most(mean: float, tail: float) -> Bound:
    """No more than these."""
    return Bound(mean, tail)


def at_least(mean: float, tail: float) -> Bound:
    """No less than these."""
    return Bound(mean, tail, most=False)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, and what is measured of it.

    Attributes:
        measure: The measures of a run with one seed, by name.
        bounds: By the measure's name.
    """

    measure: Measure
    bounds: Mapping[str, Bound]
