"""Bounds warnings and errors that say one fact again and again, as each try of an outage does.

A fact is said five times at once and then once a minute, whatever the event; of one event at most
twenty lines at once and then four a minute are written, however many facts they tell. The next line
says how many were left out.
"""

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_FACT_LINES, _FACT_SECONDS = 5, 60.0
_EVENT_LINES, _EVENT_SECONDS = 20, 15.0
_MOST_KEPT = 1_000
_MOST_CHARS = 500
# Which one of many it was makes no other fact; nor does a number.
_PASSED_BY = {"message_id", "fingerprint", "missing_since", "timestamp"}
# Each answers somebody's act, who waits for the line.
_ALWAYS = {"calls_paused", "reload_refused", "stopped_at_once"}


@dataclass(slots=True)
class _Allowance:
    """Lines that may still be written, and how many were not."""

    at: float
    left: float
    left_out: int = 0

    def refill(self, now: float, most: int, seconds: float) -> None:
        self.left = min(most, self.left + (now - self.at) / seconds)
        self.at = now


class Repeats:
    """Knows what was said lately.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, ...], _Allowance] = OrderedDict()

    def left_out_before(self, event: Mapping[str, Any]) -> int | None:
        """Whether a line is to be written.

        Returns:
            None if it is to be left out, else how many like it were left out since the last one.
        """
        name = str(event.get("logger") or event.get("event"))
        if name in _ALWAYS:
            return 0
        fact = self._allowance((name, *_told(event)), _FACT_LINES, _FACT_SECONDS)
        any_fact = self._allowance((name,), _EVENT_LINES, _EVENT_SECONDS)
        if fact.left < 1 or any_fact.left < 1:
            fact.left_out += 1
            return None
        fact.left -= 1
        any_fact.left -= 1
        left_out, fact.left_out = fact.left_out, 0
        return left_out

    def forget(self) -> None:
        """Begin anew."""
        self._kept.clear()

    def _allowance(self, key: tuple[str, ...], most: int, seconds: float) -> _Allowance:
        now = self._clock()
        found = self._kept.pop(key, None) or _Allowance(now, most)
        found.refill(now, most, seconds)
        self._kept[key] = found
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return found


def _told(event: Mapping[str, Any]) -> Iterator[str]:
    """What tells one fact from another."""
    for name, value in event.items():
        if name == "exc_info":
            yield _kind(value)
        elif isinstance(value, str | list | tuple) and name not in _PASSED_BY:
            yield name
            yield str(value)[:_MOST_CHARS]


def _kind(exc_info: object) -> str:
    """The kind of the exception that a line is about, in any form that logging takes."""
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    return type(error).__name__
