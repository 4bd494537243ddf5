"""Who is measured: how each is started, fed and counted."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.price import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.price.messages import Message

_WORKERS: Final = Path(__file__).parent / "workers"
_FRAMEWORKS: Final = Path(__file__).parents[2] / ".venv-bench"


@dataclass(frozen=True, slots=True)
class Contender:
    """A worker to measure.

    Attributes:
        command: How it is started; `{concurrency}` stands for its calls at once.
        exchange: Where tokens for it are published, under the key `token`.
        settled: Counts the tokens that it has settled.
        message: What is published for a token.
        environment: The virtual environment that it needs beside this one.
    """

    name: str
    command: tuple[str, ...]
    exchange: str
    settled: str
    message: Callable[[str], Message] = messages.submission
    environment: Path | None = None

    @property
    def installed(self) -> bool:
        """Its environment is complete."""
        return self.environment is None or (self.environment / ".stamp").exists()

    def started_by(self, concurrency: int) -> list[str]:
        """The command, for so many calls at once."""
        return [word.format(concurrency=concurrency) for word in self.command]


def _of_file(name: str, file: str, table: str, *options: str) -> Contender:
    command = (sys.executable, str(_WORKERS / file), table, "{concurrency}", *options)
    return Contender(name, command, table, _rows(table))


def _of_framework(
    name: str,
    table: str,
    command: tuple[str, ...],
    message: Callable[[str], Message] = messages.submission,
) -> Contender:
    program, *options = command
    command = (str(_FRAMEWORKS / "bin" / program), *options)
    return Contender(name, command, table, _rows(table), message, _FRAMEWORKS)


def _rows(table: str) -> str:
    return f"SELECT count(*) FROM {table}_customer"  # noqa: S608 - our names


OURS: Final = Contender(
    "resolution-worker",
    (sys.executable, "-m", "worker", "run"),
    "resolution",
    "SELECT count(*) FROM resolution.outcomes",
)
FLOOR: Final = _of_file("floor of the same job", "floor.py", "floor")
PLAIN: Final = _of_file("plain (asyncio)", "plain.py", "plain")
PLAIN_UVLOOP: Final = _of_file("plain (uvloop)", "plain.py", "plain", "--uvloop")
FASTSTREAM: Final = _of_framework(
    "FastStream",
    "faststream",
    ("python", str(_WORKERS / "faststream_worker.py"), "{concurrency}"),
)
TASKIQ: Final = _of_framework(
    "taskiq",
    "taskiq",
    (
        *("taskiq", "worker", "--app-dir", str(_WORKERS), "taskiq_worker:broker"),
        *("--workers", "1", "--max-async-tasks", "{concurrency}", "--log-level", "WARNING"),
    ),
    messages.taskiq,
)
CELERY: Final = _of_framework(
    "Celery (threads)",
    "celery",
    (
        # Python's warnings: here that it runs as root.
        *("python", "-W", "ignore", "-m", "celery", "--quiet", "--workdir", str(_WORKERS)),
        *("--app", "celery_worker", "worker", "--loglevel", "ERROR"),
        *("--pool", "threads", "--concurrency", "{concurrency}"),
    ),
    messages.celery,
)

ALL: Final = (OURS, FLOOR, PLAIN, PLAIN_UVLOOP, FASTSTREAM, TASKIQ, CELERY)
REPLYING: Final = (OURS, PLAIN_UVLOOP, FASTSTREAM)
