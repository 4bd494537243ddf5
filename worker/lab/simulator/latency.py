"""How long an answer takes: a value such as `50ms` or `50ms±20ms`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_TIME: Final = r"([0-9]+(?:\.[0-9]+)?)(ms|s)"
_LATENCY: Final = re.compile(rf"{_TIME}(?:(?:±|\+-){_TIME})?")
_UNITS_S: Final = {"ms": 0.001, "s": 1.0}
_MOST_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Latency:
    """A time drawn evenly from `mean_s - spread_s` to `mean_s + spread_s`."""

    mean_s: float = 0.0
    spread_s: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Latency:
        """The latency a text stands for.

        Raises:
            ValueError: It stands for none; the text says what would.
        """
        found = _LATENCY.fullmatch(text.replace(" ", ""))
        if found is None:
            raise ValueError("write a latency as '50ms', '0.5s' or '50ms±20ms' ('+-' will do)")
        mean, unit, spread, spread_unit = found.groups()
        latency = cls(
            float(mean) * _UNITS_S[unit],
            float(spread) * _UNITS_S[spread_unit] if spread else 0.0,
        )
        if latency.spread_s > latency.mean_s or latency.mean_s > _MOST_S:
            raise ValueError("a latency is at most an hour, and its spread no more than itself")
        return latency

    def draw(self, chance: float) -> float:
        """Seconds to wait, for a `chance` drawn evenly from 0 to 1."""
        return self.mean_s + self.spread_s * (2 * chance - 1)
