"""Measured figures, their bounds, and the table at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes:
        what: What was measured; the same words for the plain worker put both in one row.
        value: The measured value; NaN where it could not be had, which is never held.
        unit: `%`, `s`, or nothing.
        least: The least that it may be.
        most: The most that it may be.
        plain: Measured on the plain worker, of which nothing is asked.
    """

    what: str
    value: float
    unit: str = ""
    least: float = -math.inf
    most: float = math.inf
    plain: bool = False

    @property
    def held(self) -> bool:
        """Whether it is within its bounds."""
        return self.plain or self.least <= self.value <= self.most

    @property
    def measured(self) -> str:
        """The value with its unit."""
        return f"{_number(self.value)} {self.unit}".rstrip()

    @property
    def bound(self) -> str:
        """The bounds in words; empty without any."""
        if math.isinf(self.least) and math.isinf(self.most):
            return ""
        if math.isinf(self.most):
            return f">= {_number(self.least)} {self.unit}".rstrip()
        if math.isinf(self.least):
            return f"<= {_number(self.most)} {self.unit}".rstrip()
        return f"{_number(self.least)} to {_number(self.most)} {self.unit}".rstrip()

    @property
    def verdict(self) -> str:
        """One word for the table; empty without a bound."""
        if not self.bound:
            return "" if not math.isnan(self.value) else "NOT MEASURED"
        return "held" if self.held else "NOT HELD"


def share(part: float, whole: float) -> float:
    """Percent; NaN of nothing."""
    return 100 * part / whole if whole else math.nan


def jain(values: Sequence[float]) -> float:
    """Jain's fairness index: 1 if all are alike, 1/n if one has everything; NaN of nothing."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else math.nan


def quantile(values: Iterable[float], q: float) -> float:
    """The smallest value that at least the share `q` of all do not exceed; NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else math.nan


def table(figures: Sequence[Figure]) -> str:
    """A row for each figure, with the plain worker's beside it."""
    plain = {figure.what: figure.measured for figure in figures if figure.plain}
    rows = [("figure", "bound", "measured", "plain worker", "")]
    ours = [figure for figure in figures if not figure.plain]
    rows += [(f.what, f.bound, f.measured, plain.pop(f.what, ""), f.verdict) for f in ours]
    rows += [(what, "", "", measured, "") for what, measured in plain.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in {0, 4} else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if 0 < abs(value) <= 1 else f"{value:.2f}".rstrip("0").rstrip(".")
