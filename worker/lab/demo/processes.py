"""The processes of a run: started, watched, ended, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from worker.lab.servers import Server
from worker.lab.servers.server import ServerSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
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
_SIMULATOR_READY: Final = re.compile(r"^simulator listening on (http://\S+)$", re.MULTILINE)


class ProcessEnded(Exception):  # noqa: N818 - named for what happened
    """A process of the demo ended though the demo had not ended it."""

    def __init__(self, name: str, log: Path) -> None:
        tail = "\n".join(_text(log).splitlines()[-_TAIL_LINES:]) or "(empty)"
        super().__init__(f"{name} has ended by itself. The last lines of its log:\n{tail}")


@dataclass(slots=True, eq=False)
class Process:
    """A process that runs as long as the demo needs it.

    Attributes:
        name: Its name in messages.
        server: The process itself.
        log: The file that its output goes to.
        url: Where it listens for HTTP; empty for none.
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
            ProcessEnded: It has ended by itself.
        """
        if not (self.may_end or self.server.alive):
            raise ProcessEnded(self.name, self.log)

    async def watch(self) -> None:
        """Wait for its end.

        Raises:
            ProcessEnded: It has ended by itself.
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
        return _event(self.log, "stopped") is not None


async def simulator(directory: Path, environment: Mapping[str, str]) -> Process:
    """Start the simulator of AWS Marketplace on a free port.

    Raises:
        StartError: It did not start.
    """
    words = ["simulator", "--port", "0", "--latency", "20ms±10ms"]

    async def listens_at(log: Path) -> str:
        found = _SIMULATOR_READY.search(_text(log))
        return found[1] if found else ""

    return await _started("simulator", words, directory / "simulator.log", environment, listens_at)


async def worker(number: int, directory: Path, environment: Mapping[str, str]) -> Process:
    """Start `resolution-worker run`, and wait until it is ready.

    Raises:
        StartError: It did not start.
    """

    async def listens_at(log: Path) -> str:
        listening = _event(log, "http_listening")
        url = f"http://{listening['host']}:{listening['port']}" if listening else ""
        return url if url and await _answers(f"{url}/readyz") else ""

    log = directory / f"worker-{number}.log"
    return await _started(f"worker {number}", ["run"], log, environment, listens_at)


async def calls(url: str) -> dict[str, int]:
    """How the simulator has answered so far, by result."""
    async with _http() as http, http.get(f"{url}/_simulator/stats") as answer:
        stats = await answer.json(content_type=None)
        return {name: count for name, count in stats["calls"].items() if count}


async def _started(
    name: str,
    words: list[str],
    log: Path,
    environment: Mapping[str, str],
    listens_at: Callable[[Path], Awaitable[str]],
) -> Process:
    """Start a command, and wait until `listens_at` gives its address."""
    url = ""

    async def ready(_: int) -> bool:
        nonlocal url
        await asyncio.sleep(_LOOK_SECONDS)
        url = await listens_at(log)
        return bool(url)

    server = Server(ServerSpec(name, [*COMMAND, *words], environment, log, ready))
    await server.start(within=_START_SECONDS)
    return Process(name, server, log, url)


def _text(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""


def _event(log: Path, name: str) -> dict[str, Any] | None:
    """The first event of that name in a worker's log."""
    for line in _text(log).splitlines():
        try:
            event = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue  # not a line of the log, but of a traceback
        if isinstance(event, dict) and event.get("event") == name:
            return event
    return None


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_HTTP_SECONDS))


async def _answers(url: str) -> bool:
    try:
        async with _http() as http, http.get(url) as answer:
            return answer.ok
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


class PublishFailed(Exception):  # noqa: N818 - named for what happened
    """The command did not publish everything; the text says what it printed."""


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
        """Publish all messages and wait until the broker has confirmed them.

        Args:
            messages: Each is received from its buyer at the moment it is written.
            per_second: How many to write a second; None for as fast as they are taken.

        Raises:
            PublishFailed: Some are not confirmed.
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
            raise PublishFailed(f"{self._command} {fault}") from None
        if self._process.returncode:
            words = errors.decode(errors="replace").strip()
            fault = f"ended with code {self._process.returncode}:\n{words}"
            raise PublishFailed(f"{self._command} {fault}")


@asynccontextmanager
async def publisher(
    lane: str, directory: Path, environment: Mapping[str, str]
) -> AsyncIterator[Publisher]:
    """Start `publish`, which waits for lines; it ends with the block, or with this process.

    Args:
        lane: `live` or `backlog`.
        directory: Where it runs.
        environment: Its whole environment.
    """
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
