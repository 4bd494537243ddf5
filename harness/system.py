"""One worker between a client and the real servers, everything around it breakable and recorded."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.client import running_client
from harness.history import PARKED, History, check, count
from harness.marketplace import Marketplace
from harness.submission_factory import SubmissionFactory
from harness.tcp_proxy import proxy_to
from harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from harness.client import Client
    from harness.history import Finding, Submission
    from harness.installation import Installation
    from harness.programs import Worker
    from harness.tcp_proxy import Proxy

DELAYS = "200ms,1s"
SETTINGS = {
    "WORKER_RETRY__ATTEMPTS": "20",  # more than any outage here can use up
    "WORKER_RETRY__DELAYS": DELAYS,
    "WORKER_AWS__TIMEOUT": "2s",
    "WORKER_LOG__LEVEL": "debug",
    "WORKER_POOL__DRAIN": "10s",
}
QUEUES = (
    "resolution.tokens",
    "resolution.backlog",
    "resolution.crowd",
    "resolution.parked",
    *(f"resolution.retry.{delay}" for delay in DELAYS.split(",")),
)
RECOVERY_SECONDS = 15.0
SETTLE_SECONDS = 60.0


@dataclass(slots=True)
class System:
    """What a fault has around it.

    Attributes:
        stage: The servers, and how a worker is started on them.
        amqp: Between the worker and the broker.
        sql: Between the worker and the database.
        aws: Between the worker and the simulator.
        door: Between the worker and `aws`.
        factory: Makes submissions.
        client: Publishes them, and receives what becomes of them.
        workers: Those that were started; the last is the one at work.
    """

    stage: Installation
    amqp: Proxy
    sql: Proxy
    aws: Marketplace
    door: Proxy
    factory: SubmissionFactory
    client: Client
    logs: tuple[Path, ...] = ()
    workers: list[Worker] = field(default_factory=list)

    @property
    def worker(self) -> Worker:
        """The worker at work."""
        return self.workers[-1]

    async def run(self, **settings: str) -> Worker:
        """Start a worker behind all the proxies, and wait until it is ready."""
        worker = self.start(**settings)
        await worker.ready()
        return worker

    def start(self, **settings: str) -> Worker:
        """Start a worker behind all the proxies."""
        addresses = {
            "WORKER_AMQP__URL": self.amqp.url,
            "WORKER_POSTGRES__DSN": self.sql.url,
            "WORKER_AWS__ENDPOINT_URL": self.door.url,
        }
        worker = self.stage.start(**(addresses | SETTINGS | settings))
        self.workers.append(worker)
        return worker

    async def settled(self, some: Sequence[Submission], seconds: float = SETTLE_SECONDS) -> None:
        """Wait until each of these has its event."""
        settled_at = self.client.settled_at
        missing: list[str] = []

        def all_settled() -> bool:
            missing[:] = [one.message_id for one in some if settled_at(one.message_id) is None]
            return not missing

        try:
            await eventually(all_settled, "all have their events", seconds)
        except AssertionError as error:
            left = await self.client.depths(*QUEUES)
            words = f"{error}: {len(missing)} have not: {missing[:5]}; {left}"
            raise AssertionError(words) from None

    async def kept(self, some: Sequence[Submission]) -> None:
        """Wait until each of these, of which nothing may be told, is among the dead letters."""

        async def all_kept() -> bool:
            rows = await self.stage.schema.rows("SELECT body_sha256 FROM resolution.dead_letter")
            return {one.body_sha256 for one in some} <= {row["body_sha256"] for row in rows}

        await eventually(all_kept, "all are kept as letters", SETTLE_SECONDS)

    async def empty(self) -> None:
        """Wait until nothing is left in any queue."""

        async def nothing_left() -> bool:
            return not any((await self.client.depths(*QUEUES)).values())

        await eventually(nothing_left, "the queues are empty")

    async def recovery(self) -> float:
        """Seconds from now until a new token is settled."""
        began = time.time()
        (fresh,) = self.factory.of("ok-{n}", lane="live")
        fresh = await self.client.publish(fresh)
        await self.settled([fresh])
        return (self.client.settled_at(fresh.message_id) or time.time()) - began

    async def findings(self) -> list[Finding]:
        """Stop the worker, gather everything and have it judged."""
        metrics = await self.worker.get("/metrics")
        readiness = await self.worker.get("/readyz")
        self.worker.send(signal.SIGTERM)
        code = await self.worker.exit_code()
        assert code == 0, f"the worker ended with {code}"
        await self._drained()
        found = await self._history()
        found.texts |= {"the metrics": metrics[1], "the readiness": readiness[1]}
        return check(self.client.sent, found)

    async def _drained(self) -> None:
        async def drained() -> bool:
            depths = await self.client.depths()
            return not any(depths.values())

        await eventually(drained, "all events and replies are received")

    async def _history(self) -> History:
        rows = self.stage.schema.rows
        found = History(
            received=self.client.received,
            calls=self.aws.calls,
            canaries=[self.factory.salt],
            one_process=len(self.workers) == 1,
            queues=await self.client.depths(*QUEUES),
        )
        for name in ("outcomes", "agreements", "malformed"):
            table = await rows(f"SELECT * FROM resolution.{name}")
            setattr(found, name, [dict(row) for row in table])
        found.letters = [dict(row) for row in await rows("SELECT * FROM resolution.dead_letter")]
        found.texts = await self._texts()
        return found

    async def _texts(self) -> dict[str, str]:
        texts = {f"worker {n}'s log": one.said for n, one in enumerate(self.workers)}
        found = await self.stage.schema.rows(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'resolution'"
        )
        for (table,) in found:
            rows = await self.stage.schema.rows(f"SELECT t::text FROM resolution.{table} t")
            texts[f"the table {table}"] = "\n".join(row[0] for row in rows)
        for log in (self.stage.broker.log, *self.logs):
            texts[f"the log {log.name}"] = await asyncio.to_thread(log.read_text, errors="replace")
        return texts


@dataclass(frozen=True, slots=True)
class FaultCase:
    """A fault and how it is put to a worker.

    Attributes:
        name: For the report.
        fault: Does it, holds it, and undoes it; returns at the instant at which it is over.
        settings: The worker's, in this case.
        before: How many submissions are published before it.
        during: How many are published while it lasts.
        word: Further tokens of this kind are published before it, if any.
        evidence: Events of the worker's log, one of which shows that the fault was felt.
        seconds: The most that recovery may take.
    """

    name: str
    fault: Callable[[System], Awaitable[None]]
    settings: dict[str, str] = field(default_factory=dict)
    before: int = 60
    during: int = 40
    after: int = 30
    word: str = ""
    evidence: tuple[str, ...] = ()
    seconds: float = RECOVERY_SECONDS


async def run_fault(system: System, case: FaultCase, seed: int) -> None:
    """Put a worker at work through a fault, and let the books be checked."""
    print(f"FAULT_SEED={seed}")  # noqa: T201 - so that a failure can be had again
    factory, client = system.factory, system.client
    await system.run(**case.settings)
    before = factory.some(case.before) + (factory.of(case.word, 20) if case.word else [])
    during, after = factory.some(case.during), factory.some(case.after)
    async with asyncio.TaskGroup() as group:
        group.create_task(client.publish_all(before, seconds=1.0))
        group.create_task(client.publish_all(during, seconds=3.0))
        await asyncio.sleep(factory.chance.uniform(0.2, 1.2))  # the moment is the chance
        await case.fault(system)
        recovered = await system.recovery()
        felt = [event for event in case.evidence if system.worker.logged(event)]
        assert felt or not case.evidence, f"nobody felt it: none of {case.evidence} was logged"
        group.create_task(client.publish_all(after, seconds=0.5))
    await conclude(system, case.name, seed, recovered, limit=case.seconds)


async def conclude(
    system: System, name: str, seed: int, recovered: float, limit: float = RECOVERY_SECONDS
) -> None:
    """Wait for the end of everything, check the books and print one line about it."""
    await system.settled([one for one in system.client.sent if not one.may_be(PARKED)])
    await system.kept([one for one in system.client.sent if one.may_be(PARKED)])
    await system.empty()
    await system.worker.ready()
    findings = await system.findings()
    sent = len(system.client.sent)
    line = f"fault={name!r} seed={seed} recovery_s={recovered:.1f} sent={sent} {count(findings)}"
    tell(line)
    assert findings == []
    assert "Traceback" not in system.worker.said, _traceback(system.worker.said)
    assert recovered <= limit


def _traceback(said: str) -> str:
    at = said.index("Traceback")
    return said[max(0, at - 300) : at + 3000]


def tell(line: str, variable: str = "FAULT_REPORT") -> None:
    """Print a line of the report; also into the file that the variable names, if it names one."""
    print(line)  # noqa: T201 - the report
    if name := os.environ.get(variable):
        with Path(name).open("a", encoding="utf-8") as report:
            report.write(f"{line}\n")


@asynccontextmanager
async def system_on(
    stage: Installation, seed: int, logs: tuple[Path, ...] = ()
) -> AsyncIterator[System]:
    """A system until the block ends; the installation stops its workers before its proxies."""
    async with AsyncExitStack() as stack:
        factory = SubmissionFactory(seed)
        amqp = await stack.enter_async_context(proxy_to(stage.worker_url))
        sql = await stack.enter_async_context(proxy_to(stage.schema.worker))
        aws = await stack.enter_async_context(Marketplace(stage.simulator.url).serving())
        door = await stack.enter_async_context(proxy_to(aws.url))
        client = await stack.enter_async_context(
            running_client(stage.web, stage.broker.url, factory.requesters)
        )
        stack.callback(stage.clear)
        yield System(stage, amqp, sql, aws, door, factory, client, logs)
