"""Counts of what was answered, and how often each token was asked for."""

from __future__ import annotations

from typing import Any, Final

from worker.lab.simulator.answer import Result

SECONDS_KEPT: Final = 86_400
TOKENS_KEPT: Final = 4_000_000


class Stats:
    """Calls by result: since the start, and for each second of the last day."""

    def __init__(self) -> None:
        self._calls = dict.fromkeys(Result, 0)
        self._seconds: dict[int, dict[Result, int]] = {}

    def note(self, result: Result, epoch_s: float) -> None:
        """Count one call that was answered so at `epoch_s` (seconds since the epoch)."""
        self._calls[result] += 1
        second = self._seconds.get(int(epoch_s))
        if second is None:
            second = self._begin(int(epoch_s))
        second[result] += 1

    def _begin(self, epoch_s: int) -> dict[Result, int]:
        if len(self._seconds) >= SECONDS_KEPT:
            del self._seconds[next(iter(self._seconds))]
        return self._seconds.setdefault(epoch_s, dict.fromkeys(Result, 0))

    def as_json(self) -> dict[str, Any]:
        """The counts, as members of a JSON object."""
        return {
            "calls": _named(self._calls),
            "seconds": {str(second): _named(counts) for second, counts in self._seconds.items()},
        }


def _named(counts: dict[Result, int]) -> dict[str, int]:
    return {str(result): count for result, count in counts.items()}


class TokenCalls:
    """How often each token was asked for.

    It keeps a 64-bit hash of each token, not the token. Past `limit` tokens it forgets them all
    and counts their calls from 1 again, so that it stays below about half a gigabyte.
    """

    def __init__(self, limit: int = TOKENS_KEPT) -> None:
        self._limit = limit
        self._calls: dict[int, int] = {}
        self._forgotten = 0

    @property
    def distinct(self) -> int:
        """How many different tokens were seen."""
        return self._forgotten + len(self._calls)

    def note(self, token: str) -> int:
        """Count one call for the token: which one it is, from 1."""
        key = hash(token)
        nth = self._calls.get(key, 0) + 1
        if nth == 1 and len(self._calls) >= self._limit:
            self._forgotten += len(self._calls)
            self._calls.clear()
        self._calls[key] = nth
        return nth
