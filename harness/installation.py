"""Servers as an operator prepares them, and the product's commands on them."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.programs import COMMAND, Simulator, Worker
from harness.waiting import GENEROUS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.programs import Program
    from harness.schema import Schema
    from harness.servers import Broker

DELAYS = "200ms,500ms"
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Installation:
    """Servers as an operator prepares them, and what has been started on them.

    Attributes:
        keys: What `resolution-worker keygen` printed.
        home: An empty home directory, so that no credentials of this machine are found.
        web: The broker's address for the web tier.
        worker_url: The broker's address for the worker, which has only the rights it needs.
    """

    broker: Broker
    schema: Schema
    simulator: Simulator
    keys: Mapping[str, str]
    home: Path
    web: str
    worker_url: str
    started: list[Program] = field(default_factory=list)

    def environment(self, **settings: str) -> dict[str, str]:
        """The whole environment of a worker: nothing of the test's own but these settings."""
        return bare_environment(self.home) | {
            "AWS_ACCESS_KEY_ID": "simulator",
            "AWS_SECRET_ACCESS_KEY": "simulator",
            "WORKER_AMQP__URL": self.worker_url,
            "WORKER_POSTGRES__DSN": self.schema.worker,
            "WORKER_AWS__ENDPOINT_URL": self.simulator.url,
            "WORKER_DEAD_LETTERS__SEAL_KEY": self.keys["WORKER_DEAD_LETTERS__SEAL_KEY"],
            "WORKER_HTTP__PORT": "0",
            "WORKER_RETRY__ATTEMPTS": str(ATTEMPTS),
            "WORKER_RETRY__DELAYS": DELAYS,
            "WORKER_RATE__INITIAL": "10000",  # most tests are not about the search for the quota
            **settings,
        }

    def start(self, *arguments: str, **settings: str) -> Worker:
        """Start a worker; it ends with the installation at the latest."""
        worker = Worker(self.environment(**settings), *arguments)
        self.started.append(worker)
        return worker

    async def run(self, **settings: str) -> Worker:
        """Start a worker and wait until it is ready."""
        worker = self.start(**settings)
        await worker.ready()
        return worker

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the product to its end."""
        return subprocess.run(
            [COMMAND, *arguments],
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def clear(self) -> None:
        """End everything that was started, and show what it said last in case a test fails."""
        for program in self.started:
            program.kill()
            print(f"--- {program.process.args!r}")  # noqa: T201 - for the report of a failure
            print("".join(program.err[-60:]))  # noqa: T201 - as above


def bare_environment(home: Path) -> dict[str, str]:
    """An environment that says nothing about the product or AWS."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONWARNINGS": "default",
    }


def product(*arguments: str, environment: Mapping[str, str]) -> str:
    """What a command of the product prints; it must succeed."""
    done = subprocess.run(
        [COMMAND, *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def simulating(home: Path, *options: str) -> Iterator[Simulator]:
    """A simulator until the block ends."""
    simulator = Simulator(*options, environment=bare_environment(home))
    try:
        ends = time.monotonic() + GENEROUS_SECONDS
        while not simulator.url and time.monotonic() < ends:
            time.sleep(0.02)
        assert simulator.url, f"the simulator does not say where it listens: {simulator.said}"
        yield simulator
    finally:
        simulator.kill()
