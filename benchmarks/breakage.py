"""Workers that faults befall, and the faults."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from harness.connections import drop_connections

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from harness.programs import Worker
    from harness.system import System
    from harness.tcp_proxy import Proxy
    from worker.lab.servers import Services

    Fault: TypeAlias = Callable[["Replicas", random.Random], Awaitable[None]]

_OUTAGE_SECONDS: Final = 2.0
_FROZEN_SECONDS: Final = (2.0, 5.0)
_SETTINGS: Final = {"WORKER_LOG__LEVEL": "info"}


@dataclass(slots=True)
class Replicas:
    """The workers, and what is around them.

    Attributes:
        workers: Those that run; the first is never restarted.
        all: Those that ever ran.
    """

    system: System
    services: Services
    workers: list[Worker] = field(default_factory=list)
    all: list[Worker] = field(default_factory=list)

    @classmethod
    async def start(cls, system: System, services: Services, count: int) -> Replicas:
        """Start so many workers, and wait until they are ready."""
        replicas = cls(system, services)
        replicas.workers = [replicas._start() for _ in range(count)]
        for worker in replicas.workers:
            await worker.ready()
        return replicas

    @property
    def spared(self) -> Worker:
        """The worker that lives from the first token to the last."""
        return self.workers[0]

    def _start(self) -> Worker:
        worker = self.system.start(**_SETTINGS)
        self.all.append(worker)
        return worker

    def replace(self, place: int) -> None:
        """Start another worker in the place of one that has ended."""
        self.workers[place] = self._start()

    async def drain(self) -> list[int]:
        """Let all of them drain; their exit codes."""
        for worker in self.workers:
            worker.send(signal.SIGTERM)
        return [await worker.exit_code() for worker in self.workers]


# --- workers ---


def _victim(replicas: Replicas, chance: random.Random) -> int:
    return chance.randrange(1, len(replicas.workers))


async def _killed(replicas: Replicas, chance: random.Random) -> None:
    place = _victim(replicas, chance)
    replicas.workers[place].kill()
    replicas.replace(place)


async def _restarted(replicas: Replicas, chance: random.Random) -> None:
    place = _victim(replicas, chance)
    replicas.workers[place].send(signal.SIGTERM)
    code = await replicas.workers[place].exit_code()
    assert code == 0, f"a worker that was asked to stop ended with {code}"
    replicas.replace(place)


async def _stopped(replicas: Replicas, chance: random.Random) -> None:
    worker = chance.choice(replicas.workers)
    worker.send(signal.SIGSTOP)
    try:
        await asyncio.sleep(5)
    finally:
        worker.send(signal.SIGCONT)


# --- networks ---


async def _reset(proxy: Proxy, _: random.Random) -> None:
    await proxy.reset()


async def _shut(proxy: Proxy, _: random.Random) -> None:
    await proxy.shut()
    try:
        await asyncio.sleep(_OUTAGE_SECONDS)
    finally:
        await proxy.open()


async def _stalled(proxy: Proxy, chance: random.Random) -> None:
    proxy.stall()
    try:
        await asyncio.sleep(chance.uniform(*_FROZEN_SECONDS))
    finally:
        proxy.resume()


async def _cut(proxy: Proxy, chance: random.Random) -> None:
    proxy.cut_after_bytes(chance.randrange(20_000))
    try:
        await asyncio.sleep(_OUTAGE_SECONDS)
    finally:
        proxy.cut_after_bytes(None)


def _before(name: str, fault: Callable[[Proxy, random.Random], Awaitable[None]]) -> Fault:
    """The fault on the way to one of the servers."""

    async def befall(replicas: Replicas, chance: random.Random) -> None:
        system = replicas.system
        await fault(
            {"broker": system.amqp, "database": system.sql, "AWS": system.door}[name], chance
        )

    return befall


async def _disconnected(replicas: Replicas, _: random.Random) -> None:
    await drop_connections(replicas.system.stage.broker)


# --- the database ---


async def _terminated(replicas: Replicas, _: random.Random) -> None:
    await replicas.system.stage.schema.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'resolution_worker' AND datname = current_database()"
    )


async def _frozen(replicas: Replicas, chance: random.Random) -> None:
    server = replicas.services.postgres.server
    server.freeze()
    try:
        await asyncio.sleep(chance.uniform(*_FROZEN_SECONDS))
    finally:
        server.thaw()


# --- AWS ---


def _answering(code: str, status: int) -> Fault:
    async def fault(replicas: Replicas, _: random.Random) -> None:
        simulator = replicas.system.stage.simulator
        answer = {"code": code, "status": status, "message": "for a while"}
        await simulator.order("PUT", "fault", answer)
        try:
            await asyncio.sleep(_OUTAGE_SECONDS)
        finally:
            await simulator.order("DELETE", "fault")

    return fault


async def _throttled(replicas: Replicas, _: random.Random) -> None:
    simulator = replicas.system.stage.simulator
    await simulator.order("PUT", "quota", {"rate": 5, "burst": 5})
    try:
        await asyncio.sleep(_OUTAGE_SECONDS)
    finally:
        await simulator.order("PUT", "quota", {"rate": None})


QUOTA_FELL: Final = "AWS throttles"
_ON_THE_WAY: Final = {
    "connections reset": _reset,
    "nobody listens": _shut,
    "a network that stalls": _stalled,
    "connections cut in the middle": _cut,
}
FAULTS: Final[dict[str, Fault]] = {
    "a worker killed": _killed,
    "a worker restarted": _restarted,
    "a worker stopped for 5 s": _stopped,
    "closed by the broker": _disconnected,
    "database sessions terminated": _terminated,
    "the database frozen": _frozen,
    "AWS denies access": _answering("AccessDeniedException", 400),
    "AWS has an internal fault": _answering("InternalServiceErrorException", 500),
    QUOTA_FELL: _throttled,
    **{
        f"{what} ({name})": _before(name, fault)
        for what, fault in _ON_THE_WAY.items()
        for name in ("broker", "database", "AWS")
    },
}
