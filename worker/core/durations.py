"""Durations as people write them: `500ms`, `5s`, `2m`, `1h30m`, `1d`."""

import re
from dataclasses import dataclass

_MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION = re.compile(
    "".join(rf"(?:(?P<{unit}>[0-9]{{1,12}}){unit})?" for unit in _MILLISECONDS), re.ASCII
)


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time, exact to the millisecond.

    Attributes:
        milliseconds: Its length.
    """

    milliseconds: int

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return self.milliseconds / 1_000

    @property
    def text(self) -> str:
        """Its canonical form: in the largest unit that divides it (`120s` is `2m`)."""
        for unit, size in _MILLISECONDS.items():
            if self.milliseconds and self.milliseconds % size == 0:
                return f"{self.milliseconds // size}{unit}"
        return "0s"

    def __str__(self) -> str:
        return self.text


def parse(text: str) -> Duration:
    """Reads a duration: whole numbers, each with a unit, larger units first.

    Args:
        text: Such as `500ms`, `5s` or `1h30m`; spaces around it are ignored.

    Raises:
        ValueError: It is not a duration; the message does not repeat the text.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or match.lastindex is None:
        raise ValueError("is not a duration: whole numbers with the units d, h, m, s or ms")
    parts = match.groupdict(default="0")
    return Duration(sum(int(count) * _MILLISECONDS[unit] for unit, count in parts.items()))


def parse_schedule(texts: list[str]) -> tuple[Duration, ...]:
    """Reads a list of delays in the order given.

    Raises:
        ValueError: It is empty, or a delay is not a duration, is zero, or is repeated.
    """
    if not texts:
        raise ValueError("is empty")
    delays = tuple(parse(text) for text in texts)
    if Duration(0) in delays:
        raise ValueError("has a delay of zero")
    if len(set(delays)) < len(delays):
        raise ValueError("contains the same delay twice; each delay has its own queue")
    return delays
