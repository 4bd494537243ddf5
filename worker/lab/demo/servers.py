"""The servers of a run, and the environment of its processes.

The database and the broker are private ones unless the environment names them.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.adapters.rabbitmq.connection import address
from worker.adapters.sealing import generate
from worker.core.addresses.postgres import read as read_dsn
from worker.lab.demo import processes
from worker.lab.demo.kinds import ACCESS_KEY, ATTEMPTS, TIMEOUT
from worker.lab.demo.processes import Process
from worker.lab.demo.shared_broker import DELAYS, borrowed
from worker.lab.servers import postgres, rabbitmq
from worker.lab.servers.program import output
from worker.settings import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack
    from pathlib import Path

    from worker.lab.demo.progress import Progress

PRIVATE = "private"

_BROKER: Final = "WORKER_AMQP__URL"
_DATABASE: Final = "WORKER_POSTGRES__DSN"
ENDPOINT: Final = "WORKER_AWS__ENDPOINT_URL"

_BROKER_ADMIN: Final = "WORKER_AMQP__ADMIN_URL"
_DATABASE_ADMIN: Final = "WORKER_POSTGRES__ADMIN_DSN"
_PLAINTEXT: Final = "WORKER_ALLOW_PLAINTEXT"
_DELAYS: Final = "WORKER_RETRY__DELAYS"

_OURS_TO_SET: Final = ("WORKER_", "AWS_")
_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


def named(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that name servers; an empty one, or an administrator's alone, names none."""
    found: dict[str, str] = {}
    for group in ((_BROKER, _BROKER_ADMIN), (_DATABASE, _DATABASE_ADMIN), (_PLAINTEXT,)):
        given = {name: environ[name] for name in group if environ.get(name, "").strip()}
        found |= given if group[0] in given else {}
    return found


def plain(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without settings of the worker, AWS's and proxies.

    So real credentials never reach the simulator, nor the demo's tokens the real AWS.
    """
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_OURS_TO_SET) and name.lower() not in _PROXIES
    }


def settings(seal_key: str) -> dict[str, str]:
    """The workers' settings, without addresses; dead letters are sealed to that public key."""
    return {
        "WORKER_AWS__TIMEOUT": f"{TIMEOUT.total_seconds():.0f}s",
        "WORKER_RETRY__ATTEMPTS": str(ATTEMPTS),
        _DELAYS: ",".join(DELAYS),
        # The simulator has no quota here: there is nothing to search for.
        "WORKER_RATE__INITIAL": "10000",
        "WORKER_DEAD_LETTERS__SEAL_KEY": seal_key,
        "WORKER_LOG__FORMAT": "json",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass(slots=True)
class Installation:
    """The servers and processes of a run.

    Attributes:
        directory: Logs, and the private servers' data.
        environ: The whole environment of a worker, with those servers that are known by now.
        delays: The retry queues that others use on a named broker, with their seconds.
        where: Which servers are used: `private`, or the address of a named one.
        processes: All processes that were started.
    """

    directory: Path
    environ: dict[str, str]
    delays: Mapping[str, float]
    where: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    @property
    def broker_url(self) -> str:
        """The broker, with the user who may declare queues there."""
        return load(environ=self.environ).current_amqp_admin_url()

    @property
    def database_dsn(self) -> str:
        """The database, with the role that may read all of it."""
        return load(environ=self.environ).current_postgres_admin_dsn()

    @property
    def of_publishers(self) -> dict[str, str]:
        """The environment of publishers, which may do what a worker's broker user may not."""
        return {**self.environ, _BROKER: self.broker_url}

    async def command(self, *words: str, progress: Progress) -> None:
        """Run a command of `resolution-worker` to its end.

        Raises:
            ServiceError: It failed; the text is what it printed.
        """
        name = f"resolution-worker {' '.join(words)}"
        await output(name, [*processes.COMMAND, *words], self.environ, self.directory)
        progress.event(f"{name}: done")


def installation(directory: Path, environ: Mapping[str, str]) -> Installation:
    """An installation of which nothing runs yet, kept in a directory; `environ` may name servers.

    Raises:
        SettingsError: A server is named in a way that can't be accepted.
    """
    seal_key, _ = generate()
    own = {**plain(environ), **settings(seal_key), **named(environ)}
    load(environ=own)
    theirs = {_DELAYS: environ[_DELAYS]} if environ.get(_DELAYS, "").strip() else {}
    delays = {delay.text: delay.seconds for delay in load(environ=theirs).retry.delays}
    return Installation(directory, own, delays)


async def set_up(setup: Installation, stack: AsyncExitStack, run: str, progress: Progress) -> None:
    """Start everything but the workers, side by side; the stack ends it.

    Raises:
        BaseExceptionGroup: Something can't be had.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(_database(setup, stack, progress))
        group.create_task(_broker(setup, stack, run, progress))
        group.create_task(_simulator(setup, stack, progress))


async def _database(setup: Installation, stack: AsyncExitStack, progress: Progress) -> None:
    if _DATABASE in setup.environ:
        setup.where["database"] = _database_address(setup.database_dsn)
        progress.event(f"database: {setup.where['database']}, named in the environment")
    else:
        server = await stack.enter_async_context(postgres(setup.directory / "postgresql"))
        setup.environ[_DATABASE] = server.dsn
        setup.where["database"] = PRIVATE
        setup.processes.append(Process("PostgreSQL", server.server, server.log))
        progress.event(f"database: a private PostgreSQL on port {server.port}")
    await setup.command("migrate", "--stand-in", progress=progress)


async def _broker(setup: Installation, stack: AsyncExitStack, run: str, progress: Progress) -> None:
    if _BROKER in setup.environ:
        setup.where["broker"] = address(setup.broker_url)
        progress.event(f"broker: {setup.where['broker']}, named in the environment")
        await stack.enter_async_context(borrowed(setup.broker_url, run, setup.delays, progress))
    else:
        server = await stack.enter_async_context(rabbitmq(setup.directory / "rabbitmq"))
        setup.environ[_BROKER] = server.amqp_url
        setup.where["broker"] = PRIVATE
        setup.processes.append(Process("RabbitMQ", server.server, server.log))
        progress.event(f"broker: a private RabbitMQ on port {server.port}")
    await setup.command("topology", "declare", progress=progress)


async def _simulator(setup: Installation, stack: AsyncExitStack, progress: Progress) -> None:
    process = await processes.simulator(setup.directory, setup.environ)
    stack.callback(process.end)
    setup.environ[ENDPOINT] = process.url
    setup.processes.append(process)
    progress.event(f"AWS Marketplace: the simulator at {process.url}")


async def start_worker(
    setup: Installation, stack: AsyncExitStack, number: int, port: int, progress: Progress
) -> Process:
    """Start one worker, which the stack ends.

    Raises:
        StartError: It did not start.
    """
    process = await processes.worker(number, port, setup.directory, setup.environ)
    stack.callback(process.end)
    setup.processes.append(process)
    progress.event(f"{process.name}: ready, pid {process.server.pid}, {process.url}/metrics")
    return process


def _database_address(dsn: str) -> str:
    """Host, port and name of a database, and nothing else of its address."""
    address = read_dsn(dsn)
    return f"{address.place}/{address.database or ''}"
