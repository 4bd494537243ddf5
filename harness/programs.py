"""Programs of the product that were started, and what can be seen of them from outside."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from prometheus_client.parser import text_string_to_metric_families

from harness.waiting import GENEROUS_SECONDS, eventually

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence

COMMAND = str(Path(sys.executable).with_name("resolution-worker"))

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


async def fetch(url: str, method: str = "GET", body: object = None) -> tuple[int, str]:
    """Status and text of an HTTP answer; status 0 where nobody listens."""
    return await asyncio.to_thread(_fetch, url, method, body)


def _fetch(url: str, method: str, body: object) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310 - our own, http
    try:
        with _DIRECT.open(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Program:
    """A started `resolution-worker …`: its process and every line it writes.

    Attributes:
        command: What is started.
        folder: Where; None for here.
    """

    command: ClassVar[Sequence[str]] = (COMMAND,)
    folder: ClassVar[Path | None] = None

    def __init__(self, *arguments: str, environment: Mapping[str, str]) -> None:
        setpriv = shutil.which("setpriv")
        dying = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*dying, *self.command, *arguments],
            env=dict(environment),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, into), daemon=True)
            for stream, into in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: IO[str], into: list[str]) -> None:
        with stream:
            into.extend(stream)

    @property
    def said(self) -> str:
        """Everything it has written so far."""
        return "".join((*self.out, *self.err))

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def exit_code(self, seconds: float = GENEROUS_SECONDS) -> int:
        """Its exit code, once it has ended by itself."""
        code = await asyncio.to_thread(self.process.wait, seconds)
        self._join()
        return code

    def kill(self) -> None:
        """End it at once, if it has not ended yet."""
        self.process.kill()
        self.process.wait(30)
        self._join()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(30)


class Worker(Program):
    """A started `resolution-worker run`, whose log goes to a pipe and so is JSON."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        super().__init__("run", *arguments, environment=environment)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of its log so far; fails on one that is no JSON object."""
        return [json.loads(line) for line in tuple(self.err)]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.log if line.get("event") == event]

    async def port(self) -> int:
        """Where it serves HTTP, as its log says."""
        lines = await eventually(lambda: self.logged("http_listening"), "http_listening is logged")
        return int(lines[0]["port"])

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of what it serves."""
        return await fetch(f"http://127.0.0.1:{await self.port()}{path}")

    async def ready(self, seconds: float = GENEROUS_SECONDS) -> None:
        """Wait until it says that it could work."""

        async def is_ready() -> bool:
            return (await self.get("/readyz"))[0] == 200

        await eventually(is_ready, "/readyz answers 200", seconds)

    async def unready(self, *words: str, seconds: float = GENEROUS_SECONDS) -> str:
        """Wait until it says that it can't work, naming all these words."""

        async def names_it() -> str:
            status, text = await self.get("/readyz")
            return text if status == 503 and all(word in text for word in words) else ""

        return await eventually(names_it, f"/readyz answers 503 and names {words}", seconds)

    async def metrics(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Its metrics: by sample name, then by sorted labels."""
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        _, text = await self.get("/metrics")
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[labels] = sample.value
        return found

    async def metric(self, name: str, **labels: str) -> float:
        """One sample; 0 where it is not there yet."""
        return (await self.metrics()).get(name, {}).get(tuple(sorted(labels.items())), 0.0)


class Simulator(Program):
    """A started `resolution-worker simulator` on a free port."""

    def __init__(self, *options: str, environment: Mapping[str, str]) -> None:
        super().__init__("simulator", "--port", "0", *options, environment=environment)

    @property
    def url(self) -> str:
        """Where it listens, as its first line says; empty until then."""
        line = self.out[0] if self.out else ""
        return next((word for word in line.split() if word.startswith("http://")), "")

    async def order(self, method: str, what: str, body: object = None) -> Any:
        """Give an order under `/_simulator/`, or read what is there."""
        status, text = await fetch(f"{self.url}/_simulator/{what}", method, body)
        assert status == 200, text
        return json.loads(text)

    async def calls(self) -> int:
        """How many calls it has answered or begun to."""
        stats = await self.order("GET", "stats")
        return sum(stats["calls"].values())
