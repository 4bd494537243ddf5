"""Workers as the units `resolution-worker@1`, `@2` …: what systemd does with them, done here.

A worker that dies is started again, unless it ended with 0 or 78; there is no watchdog, as in a
container. `systemctl` and `journalctl` of the runbooks are small programs that ask this one.
"""

from __future__ import annotations

import asyncio
import fnmatch
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from harness.nights.desk import desk
from harness.programs import Worker
from harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

_PREFIX: Final = "resolution-worker@"
_LEFT_ALONE: Final = (0, 78)  # as Restart= and RestartPreventExitStatus= of the unit have it
_RESTART_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 35.0
_LOOK_SECONDS: Final = 0.05

_PROGRAM: Final = """#!{python}
import json, sys, urllib.request
body = json.dumps(sys.argv[1:]).encode()
with urllib.request.urlopen("{url}{name}", body, timeout=120) as answer:
    said = json.load(answer)
sys.stdout.write(said["out"])
sys.exit(said["code"])
"""


class Units:
    """The workers of one machine.

    Args:
        environment: A worker's whole environment by its number, read anew at each start.

    Attributes:
        workers: The one last started, by number.
    """

    def __init__(self, environment: Callable[[int], Mapping[str, str]]) -> None:
        self._environment = environment
        self.workers: dict[int, Worker] = {}
        self._wanted: set[int] = set()
        self._before: dict[int, list[str]] = {}  # the journal of earlier processes

    def start(self, *numbers: int) -> None:
        """Start workers, and do not wait for them."""
        for number in numbers:
            if number in self.workers:
                self._before.setdefault(number, []).extend(self.workers[number].err)
            self.workers[number] = Worker(self._environment(number))
            self._wanted.add(number)

    async def ready(self, *numbers: int) -> None:
        """Wait until workers are ready; all without a number."""
        for number in numbers or tuple(self.workers):
            await self.workers[number].ready()

    async def stop(self, *numbers: int) -> None:
        """Let workers drain and end; by force after as long as the unit allows."""
        self._wanted -= set(numbers)
        for number in numbers:
            self.workers[number].send(signal.SIGTERM)
        for number in numbers:
            with suppress(Exception):
                await self.workers[number].exit_code(_STOP_SECONDS)
            self.workers[number].kill()

    async def restart(self, *numbers: int) -> None:
        """Restart workers one after the other, each until it is ready."""
        for number in numbers:
            await self.stop(number)
            self.start(number)
            await self.ready(number)

    async def roll_out(self) -> None:
        """Restart all, one after the other, whether they become ready or not."""
        for number in tuple(self.workers):
            await self.stop(number)
            self.start(number)
            await self.workers[number].port()

    def kill(self, number: int, name: signal.Signals = signal.SIGKILL) -> None:
        """Send one of them a signal."""
        self.workers[number].send(name)

    @asynccontextmanager
    async def kept(self, programs: Path) -> AsyncIterator[None]:
        """Start again what dies, and answer the programs in this folder, until the block ends."""
        async with desk(self._answer) as url:
            _write_programs(programs, url)
            task = asyncio.create_task(self._keep())
            try:
                yield
            finally:
                task.cancel()
                for worker in self.workers.values():
                    worker.kill()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for number in tuple(self._wanted):
                code = self.workers[number].process.poll()
                if code is None:
                    continue
                if code in _LEFT_ALONE:
                    self._wanted.discard(number)
                    continue
                await asyncio.sleep(_RESTART_SECONDS)
                if number in self._wanted and self.workers[number].process.poll() is not None:
                    self.start(number)

    async def _answer(self, program: str, words: Any) -> dict[str, Any]:
        answer = self._journalctl if program == "journalctl" else self._systemctl
        try:
            return {"out": await answer(words), "code": 0}
        except ValueError as error:
            return {"out": f"{program}: {error}\n", "code": 1}

    async def _systemctl(self, words: Sequence[str]) -> str:
        options = [word for word in words if word.startswith("-")]
        verb, *units = [word for word in words if word not in options]
        numbers = self._numbers(units)
        if verb == "restart":
            await self.restart(*numbers)
        elif verb == "start":
            self.start(*numbers)
            await self.ready(*numbers)
        elif verb == "kill":
            for number in numbers:
                self.kill(number, _signal(options))
        elif verb == "is-active":
            return "".join(f"{self._state(number)}\n" for number in numbers)
        else:
            raise ValueError(f"this stand-in does not know {verb}")
        return ""

    async def _journalctl(self, words: Sequence[str]) -> str:
        """`-u UNIT -o cat [-g TEXT] [-n COUNT]`: the lines of workers' logs."""
        options = dict(zip(words[::2], words[1::2], strict=True))
        lines = [
            line
            for number in self._numbers([options["-u"]])
            for line in (*self._before.get(number, ()), *self.workers[number].err)
            if options.get("-g", "") in line
        ]
        return "".join(lines[-int(options.get("-n", "1000")) :])

    def _state(self, number: int) -> str:
        code = self.workers[number].process.poll()
        if code is None:
            return "active"
        return "activating" if number in self._wanted else ("failed" if code else "inactive")

    def _numbers(self, units: Sequence[str]) -> list[int]:
        found = [
            number
            for number in self.workers
            if any(fnmatch.fnmatch(f"{_PREFIX}{number}", unit) for unit in units)
        ]
        if not found:
            raise ValueError(f"no unit is named {' '.join(units)}")
        return found


def _write_programs(folder: Path, url: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("systemctl", "journalctl"):
        program = folder / name
        program.write_text(_PROGRAM.format(python=sys.executable, url=url, name=name))
        program.chmod(0o755)


def _signal(options: Sequence[str]) -> signal.Signals:
    names = [word.removeprefix("--signal=") for word in options if word.startswith("--signal=")]
    return signal.Signals[f"SIG{names[0].removeprefix('SIG')}"] if names else signal.SIGTERM


async def ended(worker: Worker) -> None:
    """Wait until a process of a worker has ended, however it ended."""
    await eventually(lambda: worker.process.poll() is not None, "the worker has ended")
