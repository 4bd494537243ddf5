"""Who is measured: how each is started, fed and counted."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_WORKERS: Final = Path(__file__).parent / "workers"


@dataclass(frozen=True, slots=True)
class Contender:
    """A worker to measure.

    Attributes:
        command: How it is started; `{concurrency}` stands for its calls at once.
        exchange: Where tokens for it are published, under the key `token`.
        settled: Counts the tokens that it has settled.
    """

    name: str
    command: tuple[str, ...]
    exchange: str
    settled: str

    def started_by(self, concurrency: int) -> list[str]:
        """The command, for so many calls at once."""
        return [word.format(concurrency=concurrency) for word in self.command]


def _of_file(name: str, file: str, table: str, *options: str) -> Contender:
    command = (sys.executable, str(_WORKERS / file), table, "{concurrency}", *options)
    return Contender(name, command, table, f"SELECT count(*) FROM {table}_customer")  # noqa: S608 - our names


OURS: Final = Contender(
    "resolution-worker",
    (sys.executable, "-m", "worker", "run"),
    "resolution",
    "SELECT count(*) FROM resolution.outcomes",
)
FLOOR: Final = _of_file("floor of the same job", "floor.py", "floor")
PLAIN: Final = _of_file("plain (asyncio)", "plain.py", "plain")
PLAIN_UVLOOP: Final = _of_file("plain (uvloop)", "plain.py", "plain", "--uvloop")

ALL: Final = (OURS, FLOOR, PLAIN, PLAIN_UVLOOP)
