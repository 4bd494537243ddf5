"""A process and everything that descends from it, as Linux's /proc shows it.

Sending a signal to a process group is not enough: PostgreSQL's backends and Erlang's port
programs each open a session of their own.
"""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process, told apart from a later one with the same number by its start time.

    Attributes:
        pid: Its number.
        started: Clock ticks between the machine's start and its own.
    """

    pid: int
    started: int

    def lives(self) -> bool:
        """Whether it still runs; one that has ended but was not reaped does not."""
        stat = _stat(self.pid)
        return stat is not None and stat.started == self.started and stat.state not in "ZX"

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.lives():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass(frozen=True, slots=True)
class _Stat:
    pid: int
    state: str
    parent: int
    started: int


def family(pid: int) -> list[Process]:
    """A process and its living descendants, parents before their children."""
    everyone = [stat for stat in map(_stat, _pids()) if stat is not None]
    members = [stat for stat in everyone if stat.pid == pid]
    for member in members:  # grows while it is walked: that is the descent
        members.extend(stat for stat in everyone if stat.parent == member.pid)
    return [Process(stat.pid, stat.started) for stat in members if stat.state not in "ZX"]


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command stands in parentheses and may itself hold blanks and parentheses.
    fields = text.rpartition(")")[2].split()
    return _Stat(pid, fields[0], int(fields[1]), int(fields[19]))
