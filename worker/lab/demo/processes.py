"""The processes: started, waited for, watched, and never left behind."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from worker.lab.servers import Server
from worker.lab.servers.program import output
from worker.lab.servers.server import ServerSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from worker.lab.demo.progress import Tell

COMMAND: Final = (sys.executable, "-m", "worker")
SIMULATOR: Final = "simulator"

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1
_TAIL_LINES: Final = 15
_SIMULATOR_READY: Final = re.compile(r"^simulator listening on (http://\S+)$", re.MULTILINE)


class Died(Exception):
    """A process of the demo ended though nobody had asked it to."""

    def __init__(self, name: str, log: Path) -> None:
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        tail = "\n".join(lines[-_TAIL_LINES:]) or "(empty)"
        super().__init__(f"{name} has ended by itself. The last lines of its log:\n{tail}")


@dataclass(slots=True, eq=False)
class Player:
    """A process that lives as long as the demo needs it.

    Attributes:
        name: What to call it.
        server: Its process.
        log: What it says.
        url: Where it listens for HTTP; empty for none.
        dismissed: Whether its end is no surprise any more.
    """

    name: str
    server: Server
    log: Path
    url: str = ""
    dismissed: bool = False

    async def watch(self) -> None:
        """Wait for its end.

        Raises:
            Died: Nobody had asked it to end.
        """
        await self.server.ended()
        if not self.dismissed:
            raise Died(self.name, self.log)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self.dismissed = True
        self.server.kill()

    def end(self) -> None:
        """End it for good, whatever state it is in."""
        self.dismissed = True
        self.server.end()

    async def stop(self) -> bool:
        """End it with SIGTERM; whether it said that it came to its end in order."""
        self.dismissed = True
        await self.server.stop(within=_STOP_SECONDS)
        return any(event.get("event") == "stopped" for event in _events(self.log))


async def simulator(directory: Path, environment: Mapping[str, str]) -> Player:
    """Start the Marketplace stand-in on a free port.

    Raises:
        StartError: It did not start.
    """
    log = directory / "simulator.log"
    command = [*COMMAND, "simulator", "--port", "0", "--latency", "20ms±10ms"]

    async def ready(_: int) -> bool:
        await asyncio.sleep(_LOOK_SECONDS)
        return _SIMULATOR_READY.search(_text(log)) is not None

    server = await _started(SIMULATOR, command, environment, log, ready)
    found = _SIMULATOR_READY.search(_text(log))
    assert found is not None
    return Player(SIMULATOR, server, log, found[1])


async def worker(number: int, directory: Path, environment: Mapping[str, str]) -> Player:
    """Start `resolution-worker run`, and wait until it says that it is ready.

    Raises:
        StartError: It did not start.
    """
    name, log = f"worker {number}", directory / f"worker-{number}.log"

    async def ready(_: int) -> bool:
        await asyncio.sleep(_LOOK_SECONDS)
        url = _listens_at(log)
        return bool(url) and await _answers(f"{url}/readyz")

    server = await _started(name, [*COMMAND, "run"], environment, log, ready)
    return Player(name, server, log, _listens_at(log))


async def command(
    words: list[str], directory: Path, environment: Mapping[str, str], tell: Tell
) -> None:
    """Run a command of `resolution-worker` to its end.

    Raises:
        ServiceError: It failed; the text is what it said.
    """
    await output(f"resolution-worker {' '.join(words)}", [*COMMAND, *words], environment, directory)
    tell.say(f"resolution-worker {' '.join(words)}: done")


async def calls(of: Player) -> dict[str, int]:
    """How the simulator has answered so far, by result."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
        http.get(f"{of.url}/_simulator/stats") as answer,
    ):
        told = await answer.json(content_type=None)
        return {name: count for name, count in told["calls"].items() if count}


async def _started(
    name: str,
    command: list[str],
    environment: Mapping[str, str],
    log: Path,
    ready: Callable[[int], Awaitable[bool]],
) -> Server:
    server = Server(ServerSpec(name, command, environment, log, ready))
    await server.start(within=_START_SECONDS)
    return server


def _text(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""


def _events(log: Path) -> list[dict[str, Any]]:
    events = []
    for line in _text(log).splitlines():
        try:
            event = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue  # not a line of the log: the last words of a process that fell over
        if isinstance(event, dict):
            events.append(event)
    return events


def _listens_at(log: Path) -> str:
    """Where a worker serves `/metrics`; empty as long as it does not."""
    for event in _events(log):
        if event.get("event") == "http_listening":
            return f"http://{event['host']}:{event['port']}"
    return ""


async def _answers(url: str) -> bool:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
            http.get(url) as answer,
        ):
            return answer.ok
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
