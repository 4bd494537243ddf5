"""One server process: started, waited for, stopped, killed or frozen, never left behind.

A signal to its process group would not reach all of it: PostgreSQL's backends and Erlang's port
programs each open a session of their own.
"""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from worker.lab.servers.errors import ServiceError, StartError

_POLL_SECONDS = 0.02
_REAP_SECONDS = 10.0
_ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """How a server is run.

    Attributes:
        name: Its name in messages.
        command: The command and its arguments.
        environment: Its whole environment.
        log: The file that its standard output and error go to.
        ready: Whether the process of that number serves; polled until it does.
        quit: The signal that ends it in an orderly way.
        at_end: The signal that ends it when nothing it holds is needed any longer.
        prefix: The command before `command` that lowers its privileges; empty for none.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    ready: Callable[[int], Awaitable[bool]]
    quit: signal.Signals = signal.SIGTERM
    at_end: signal.Signals = signal.SIGKILL
    prefix: Sequence[str] = ()


class Server:
    """A server process and its descendants.

    The kernel ends it when the thread that started it dies, so that not even a parent killed
    with SIGKILL leaves it behind.
    """

    def __init__(self, spec: ServerSpec) -> None:
        self._spec = spec
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of the server's first process, of the last start."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        """Whether its first process runs."""
        return self._process is not None and self._process.poll() is None

    async def start(self, *, within: float = 60.0) -> None:
        """Start it, after a stop or a kill too, and wait until it serves.

        Args:
            within: The most seconds it may take.

        Raises:
            StartError: It ended, or took longer; nothing of it is left.
        """
        self._spawn()
        try:
            async with asyncio.timeout(within):
                await self._until_ready()
        except TimeoutError:
            self.kill()
            raise StartError(
                self._spec.name, f"was not ready within {within:g} s", self._spec.log
            ) from None
        except BaseException:
            self.kill()
            raise

    async def stop(self, *, within: float = 30.0) -> None:
        """End it in an orderly way, keeping its data; by force after so many seconds."""
        if not self.alive:
            return
        members = self._family()
        self.thaw()
        self._running().send_signal(self._spec.quit)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.ended()
        self._finish(members + self._family())

    def kill(self) -> None:
        """End it and all its descendants at once, as a crash would. It may be started again."""
        if self.alive:
            self._finish(self._suspended())

    def end(self, *, within: float = 5.0) -> None:
        """End it for good, whatever state it is in.

        It never awaits: neither a cancellation nor a closing event loop can cut it short.
        """
        if not self.alive:
            return
        members = self._family()
        self.thaw()
        self._running().send_signal(self._spec.at_end)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running().wait(within)
        self._finish(members + self._family())

    def freeze(self) -> None:
        """Suspend it and its descendants: its sockets stay open and nothing answers."""
        _send(signal.SIGSTOP, self._family())

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        _send(signal.SIGCONT, self._family())

    async def ended(self) -> None:
        """Wait until its first process has ended, however it ended."""
        while self.alive:  # noqa: ASYNC110 - the loop's child watcher would bind it to one loop
            await asyncio.sleep(_POLL_SECONDS)

    def _family(self) -> list[psutil.Process]:
        """It and its descendants, parents first; none once it has ended."""
        if not self.alive:  # its number may be another process's by now
            return []
        try:
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _suspended(self) -> list[psutil.Process]:
        """It and its descendants, suspended so that none can start another meanwhile."""
        known: list[psutil.Process] = []
        while fresh := [each for each in self._family() if each not in known]:
            _send(signal.SIGSTOP, fresh)
            known += fresh
        return known

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServiceError(f"{self._spec.name} was never started")
        return self._process

    def _spawn(self) -> None:
        spec = self._spec
        with spec.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*spec.prefix, *_dying_with_parent(spec.at_end), *spec.command],
                env=spec.environment,
                cwd=spec.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def _until_ready(self) -> None:
        while not await self._spec.ready(self.pid):
            if not self.alive:
                code = self._running().returncode
                fault = f"ended with code {code} while starting"
                raise StartError(self._spec.name, fault, self._spec.log)
            await asyncio.sleep(_POLL_SECONDS)

    def _finish(self, members: list[psutil.Process]) -> None:
        """Make sure of the end of everything that belonged to the server."""
        _send(signal.SIGKILL, members)
        self._running().wait(_REAP_SECONDS)
        deadline = time.monotonic() + _REAP_SECONDS
        while any(map(_runs, members)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _send(number: signal.Signals, members: list[psutil.Process]) -> None:
    """Send a signal to those that still run; psutil spares a later process of the same number."""
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(number)


def _runs(process: psutil.Process) -> bool:
    """Whether it still runs; one that has ended but was not reaped does not."""
    try:
        return process.is_running() and process.status() not in _ENDED
    except psutil.NoSuchProcess:
        return False


def _dying_with_parent(number: signal.Signals) -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", number.name.removeprefix("SIG")] if setpriv else []
