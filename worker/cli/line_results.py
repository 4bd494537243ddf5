"""What became of each line, by line numbers only: the lines themselves are secrets."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from worker.adapters.rabbitmq.bulk import Item

_MOST_NUMBERS: Final = 10_000
_MOST_RANGES_IN_A_COMMAND: Final = 50


@dataclass(slots=True)
class Accounts:
    """Counts what is published and keeps the numbers of the lines that are not.

    Attributes:
        published: Lines that the broker confirmed.
        not_published: Lines that were read and are not known to be published.
        stopped: Why it ended before the end of the input, or None.
        resume_from_line: The first line that was not looked at, if it was stopped.
    """

    published: int = 0
    not_published: int = 0
    stopped: str | None = None
    resume_from_line: int | None = None
    _numbers: dict[str, list[int]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Everything in the input was published."""
        return self.not_published == 0 and self.stopped is None

    def confirmed(self, item: Item) -> None:
        """A line was published."""
        del item
        self.published += 1

    def failed(self, item: Item, reason: str) -> None:
        """A line was not published, for a reason of the broker's."""
        self.refused(item.number, reason)

    def refused(self, number: int, reason: str) -> None:
        """A line was not published."""
        if self.not_published < _MOST_NUMBERS:
            self._numbers.setdefault(reason, []).append(number)
        self.not_published += 1

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "published": self.published,
            "not_published": self.not_published,
            "failures": [
                {"lines": [list(pair) for pair in _ranges(numbers)], "reason": reason}
                for reason, numbers in self._numbers.items()
            ],
            "stopped": self.stopped,
            "resume_from_line": self.resume_from_line,
        }

    def counts(self) -> str:
        """How many lines are published and how many are not."""
        return f"published: {self.published}  not published: {self.not_published}"

    def faults(self, file: str | None, lane: str) -> Iterator[str]:
        """Format what was not published and why, and how to publish it; nothing if all was.

        Args:
            file: What was read, or None for standard input.
            lane: The lane's name.
        """
        for reason, numbers in self._numbers.items():
            yield f"{_numbered(numbers)}: {reason}"
        if self.not_published > _MOST_NUMBERS:
            yield f"and {self.not_published - _MOST_NUMBERS} more lines"
        if self.stopped is not None:
            yield f"stopped: {self.stopped}"
            yield f"nothing was sent from line {self.resume_from_line} on"
        if not self.is_complete:
            yield self._remedy(file, lane)

    def _remedy(self, file: str | None, lane: str) -> str:
        ranges = _ranges(number for numbers in self._numbers.values() for number in numbers)
        wanted = [f"{first},{last}p" for first, last in ranges]
        if self.resume_from_line is not None:
            wanted.append(f"{self.resume_from_line},$p")
        remedy = "Once that is corrected, publish those lines again, and only those"
        too_many = self.not_published > _MOST_NUMBERS or len(wanted) > _MOST_RANGES_IN_A_COMMAND
        if file is None or too_many:
            return f"{remedy}."
        script = shlex.quote(";".join(wanted))
        command = f"sed -n {script} {shlex.quote(file)} | resolution-worker publish --lane {lane}"
        return f"{remedy}:\n  {command}"


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _numbered(numbers: list[int]) -> str:
    ranges = _ranges(numbers)
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return ("line " if len(numbers) == 1 else "lines ") + ", ".join(texts)
