"""Bounds warnings and errors that say one fact again and again, as each try of an outage does.

A fact is said five times at once and then once a minute; the next line says how many were left out.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

_BURST = 5
_AGAIN_SECONDS = 60.0
_MOST_FACTS = 1_000
_TOLD_APART_BY = ("logger", "link", "queue", "code", "kept_as", "reason")
_NUMBER = re.compile(r"\d+(\.\d+)?")


class _Fact:
    """How many lines of it may still be written, and how many were not."""

    __slots__ = ("at", "left", "left_out")

    def __init__(self, at: float) -> None:
        self.at = at
        self.left = float(_BURST)
        self.left_out = 0


class Repeats:
    """Knows which facts were said lately.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._facts: OrderedDict[tuple[str, ...], _Fact] = OrderedDict()

    def left_out_before(self, event: Mapping[str, Any]) -> int | None:
        """Whether a line is to be written.

        Returns:
            None if it is to be left out, else how many like it were left out since the last one.
            Lines are alike if they differ in numbers only, and in nothing that tells facts apart.
        """
        told = (event.get(name) for name in ("event", *_TOLD_APART_BY))
        key = tuple(_NUMBER.sub("#", each) for each in told if isinstance(each, str))
        now = self._clock()
        fact = self._facts.pop(key, None) or _Fact(now)
        self._facts[key] = fact
        if len(self._facts) > _MOST_FACTS:
            self._facts.popitem(last=False)
        fact.left = min(_BURST, fact.left + (now - fact.at) / _AGAIN_SECONDS)
        fact.at = now
        if fact.left < 1:
            fact.left_out += 1
            return None
        fact.left -= 1
        left_out, fact.left_out = fact.left_out, 0
        return left_out

    def forget(self) -> None:
        """Begin anew."""
        self._facts.clear()
