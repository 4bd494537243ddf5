"""The processes of a run: started, watched, ended, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from worker.lab.servers import Server
from worker.lab.servers.ports import LOOPBACK, free_ports
from worker.lab.servers.server import ServerSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from worker.lab.demo.messages import Message

COMMAND: Final = (sys.executable, "-m", "worker")

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1
_HTTP_SECONDS: Final = 10.0
_TAIL_LINES: Final = 15
_TICK_SECONDS: Final = 0.05
_MOST_LINES: Final = 500
_END_SECONDS: Final = 60.0
_STATS: Final = "/_simulator/stats"


class ProcessFailed(Exception):
    """A process of the demo ended by itself, or failed; the text ends with what it printed."""


@dataclass(slots=True, eq=False)
class Process:
    """A process that runs as long as the demo needs it.

    Attributes:
        name: Its name in messages.
        server: The process itself.
        log: The file that its output goes to.
        url: Its HTTP address; empty for none.
        may_end: Whether the demo has ended it.
    """

    name: str
    server: Server
    log: Path
    url: str = ""
    may_end: bool = False

    def check(self) -> None:
        """Check that it runs as long as it should.

        Raises:
            ProcessFailed: It has ended by itself.
        """
        if not (self.may_end or self.server.alive):
            tail = "\n".join(_text(self.log).splitlines()[-_TAIL_LINES:]) or "(empty)"
            words = f"has ended by itself. The last lines of its log:\n{tail}"
            raise ProcessFailed(f"{self.name} {words}")

    async def watch(self) -> None:
        """Wait for its end.

        Raises:
            ProcessFailed: It has ended by itself.
        """
        await self.server.ended()
        self.check()

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self.may_end = True
        self.server.kill()

    def end(self) -> None:
        """End it for good, whatever state it is in."""
        self.may_end = True
        self.server.end()

    async def stop(self) -> bool:
        """End it with SIGTERM; whether its log says that it ended in order."""
        self.may_end = True
        await self.server.stop(within=_STOP_SECONDS)
        return '"event":"stopped"' in _text(self.log)


async def simulator(directory: Path, environment: Mapping[str, str]) -> Process:
    """Start the simulator of AWS Marketplace.

    Raises:
        StartError: It did not start.
    """
    (port,) = free_ports(1)
    words = ["simulator", "--port", str(port), "--latency", "20ms±10ms"]
    return await _started("simulator", words, directory, environment, f"{_at(port)}{_STATS}")


async def worker(
    number: int, port: int, directory: Path, environment: Mapping[str, str]
) -> Process:
    """Start `resolution-worker run` with its HTTP port, and wait until it is ready.

    Raises:
        StartError: It did not start.
    """
    own = {**environment, "WORKER_HTTP__HOST": LOOPBACK, "WORKER_HTTP__PORT": str(port)}
    return await _started(f"worker {number}", ["run"], directory, own, f"{_at(port)}/readyz")


async def calls(url: str) -> dict[str, int]:
    """How the simulator has answered so far, by result."""
    async with _http() as http, http.get(f"{url}{_STATS}") as answer:
        stats = await answer.json(content_type=None)
        return {name: count for name, count in stats["calls"].items() if count}


def _at(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


async def _started(
    name: str, words: list[str], directory: Path, environment: Mapping[str, str], probe: str
) -> Process:
    """Start a command, and wait until it answers at the URL `probe`."""
    log = directory / f"{name.replace(' ', '-')}.log"

    async def ready(_: int) -> bool:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            async with _http() as http, http.get(probe) as answer:
                return answer.ok
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    server = Server(ServerSpec(name, [*COMMAND, *words], environment, log, ready))
    await server.start(within=_START_SECONDS)
    return Process(name, server, log, str(URL(probe).origin()))


def _text(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_HTTP_SECONDS))


class Publisher:
    """One running `publish`.

    Attributes:
        written: How many lines it was given so far.
    """

    def __init__(self, lane: str, process: asyncio.subprocess.Process) -> None:
        self._command = f"resolution-worker publish --lane {lane}"
        self._process = process
        self.written = 0

    async def publish(self, messages: Sequence[Message], per_second: float | None = None) -> None:
        """Publish all messages, so many a second, and wait until the broker has confirmed them.

        A message is received from its buyer at the moment it is written.

        Raises:
            ProcessFailed: Some are not confirmed.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        # A command that has ended breaks the pipe; why it has ended is for itself to say.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while self.written < len(messages):
                due = len(messages)
                if per_second is not None:
                    await asyncio.sleep(_TICK_SECONDS)
                    due = min(due, int((loop.time() - began) * per_second))
                await self._write(messages[self.written : min(due, self.written + _MOST_LINES)])
        await self._finish()

    async def _write(self, messages: Sequence[Message]) -> None:
        assert self._process.stdin is not None
        now = datetime.now(UTC)
        self._process.stdin.write(b"".join(message.line(now) for message in messages))
        await self._process.stdin.drain()
        self.written += len(messages)

    async def _finish(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                _, errors = await self._process.communicate()
        except TimeoutError:
            fault = f"has not ended within {_END_SECONDS:.0f} s after its last line"
            raise ProcessFailed(f"{self._command} {fault}") from None
        if code := self._process.returncode:
            words = errors.decode(errors="replace").strip()
            raise ProcessFailed(f"{self._command} ended with code {code}:\n{words}")


@asynccontextmanager
async def publisher(
    lane: str, directory: Path, environment: Mapping[str, str]
) -> AsyncIterator[Publisher]:
    """Start `publish` for a lane; it waits for lines, and ends with the block or this process."""
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "publish", "--lane", lane),
        env=environment,
        cwd=directory,
        start_new_session=True,  # Ctrl-C in a terminal is for this process to handle
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Publisher(lane, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
