"""A run: servers are set up, messages published, a worker killed, the account drawn up."""

from __future__ import annotations

import asyncio
import random
import secrets
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worker.core.exceptions import BrokerLost, BrokerUnavailable
from worker.lab.demo import account
from worker.lab.demo.messages import BACKLOG, LIVE, make_plan
from worker.lab.demo.observations import listening, read_records
from worker.lab.demo.processes import ProcessFailed, calls, publisher
from worker.lab.demo.servers import ENDPOINT, installation, set_up, start_worker
from worker.lab.demo.shared_broker import left
from worker.lab.servers import ServiceError
from worker.lab.servers.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from worker.lab.demo.account import Account, Wait
    from worker.lab.demo.messages import Plan
    from worker.lab.demo.observations import Listener
    from worker.lab.demo.processes import Process, Publisher
    from worker.lab.demo.progress import Progress
    from worker.lab.demo.servers import Installation

BUYERS_PER_SECOND: Final = 100.0

_WORKERS: Final = 2
_LOOK_SECONDS: Final = 0.05
_STALLED_SECONDS: Final = 30.0
_EMPTY_SECONDS: Final = 15.0
_EMPTY_LOOK_SECONDS: Final = 0.4
_EMPTY_LOOKS: Final = 2  # a message may be between two queues


@dataclass(frozen=True, slots=True)
class Options:
    """What to run.

    Attributes:
        tokens: How many different tokens.
        seed: What chance starts from: order, lanes, copies, and which worker is killed.
        environ: May name servers.
    """

    tokens: int
    seed: int
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Killed:
    """A worker that was killed.

    Attributes:
        name: Which one.
        pid: Its process.
        settled: How many messages had been answered by then.
        total: Of how many.
    """

    name: str
    pid: int
    settled: int
    total: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has found.

    Attributes:
        run: Every message id of the run begins with it.
        tokens: How many different tokens there were.
        where: Which servers were used.
        account: Whether everything came out as demanded.
        waits: How long the buyers waited.
        throughput: Messages answered a second, over the middle nine tenths of them.
        events: How many events came; more than messages, if any was published again.
        killed: Which worker was killed, and when; None if it never came to that.
        drained: Whether the other worker ended in order.
        left: Messages still in the broker's queues, by queue.
        calls: How the simulator has answered, by result.
    """

    run: str
    tokens: int
    where: Mapping[str, str]
    account: Account
    waits: Sequence[Wait]
    throughput: float
    events: int
    killed: Killed | None
    drained: bool
    left: Mapping[str, int]
    calls: Mapping[str, int]

    @property
    def balances(self) -> bool:
        """Whether everything is as it should be."""
        return self.account.balances and self.killed is not None and self.drained and not self.left


async def run_demo(options: Options, progress: Progress) -> Result:
    """Run the whole demo; nothing of it is left when this returns or raises.

    Raises:
        SettingsError: A server is named in a way that can't be accepted.
        ServiceError: A server can't be had or used.
        BrokerUnavailable: There is no connection to the broker.
        BrokerLost: It was lost on the way.
        ProcessFailed: A process has ended by itself, or `publish` has failed.
    """
    chance = random.Random(options.seed)  # noqa: S311 - shuffles, keeps no secret
    plan = make_plan(f"demo-{secrets.token_hex(4)}", options.tokens, chance)
    with tempfile.TemporaryDirectory(prefix="resolution-demo-") as folder:
        setup = installation(Path(folder), options.environ)
        async with AsyncExitStack() as stack:
            try:
                await set_up(setup, stack, plan.run, progress)
                return await _measure(setup, stack, plan, chance, progress)
            except Exception as error:
                raise _cause(error, setup.processes) from error


async def _measure(
    setup: Installation,
    stack: AsyncExitStack,
    plan: Plan,
    chance: random.Random,
    progress: Progress,
) -> Result:
    listener = await stack.enter_async_context(listening(setup.broker_url, plan))
    workers, publishers = await _start(setup, stack, progress)
    chance.shuffle(workers)
    to_kill, survivor = workers
    async with _watching(setup.processes):
        load = _Load(plan, listener, to_kill, progress)
        await load.run(*publishers)
        await _until_empty(setup.broker_url)
        drained = await survivor.stop()
        ended = "drained and ended in order" if drained else "did not end in order"
        progress.event(f"{survivor.name}: {ended}")
        received = listener.received
        return Result(
            run=plan.run,
            tokens=len(plan.originals),
            where=setup.where,
            account=account.draw_up(plan, await read_records(setup.database_dsn, plan), received),
            waits=account.waits(plan, received),
            throughput=account.throughput(received),
            events=sum(event.count for event in received.events.values()),
            killed=load.killed,
            drained=drained,
            left=await left(setup.broker_url),
            calls=await calls(setup.environ[ENDPOINT]),
        )


async def _start(
    setup: Installation, stack: AsyncExitStack, progress: Progress
) -> tuple[list[Process], list[Publisher]]:
    async with asyncio.TaskGroup() as group:
        starting = [
            group.create_task(start_worker(setup, stack, number, port, progress))
            for number, port in enumerate(free_ports(_WORKERS), start=1)
        ]
        # Started early, so that they already wait for lines when the first buyer comes.
        publishers = [
            await stack.enter_async_context(publisher(lane, setup.directory, setup.of_publishers))
            for lane in (LIVE, BACKLOG)
        ]
    return [task.result() for task in starting], publishers


class _Load:
    """Publishes all messages, kills a worker half way, and waits for the answers.

    Attributes:
        killed: The worker that was killed, once it is.
    """

    def __init__(
        self, plan: Plan, listener: Listener, to_kill: Process, progress: Progress
    ) -> None:
        self._plan = plan
        self._listener = listener
        self._to_kill = to_kill
        self._progress = progress
        self._total = len(plan.messages)
        self.killed: Killed | None = None

    async def run(self, live: Publisher, backlog: Publisher) -> None:
        """Run until every message is answered, or until no answer has come for a long time.

        Raises:
            BaseExceptionGroup: The broker does not take the tokens, or sends no more events.
        """
        async with asyncio.TaskGroup() as group:
            publishing = [
                group.create_task(live.publish(self._plan.live, BUYERS_PER_SECOND)),
                group.create_task(backlog.publish(self._plan.backlog)),
            ]
            settled, changed_at = 0, time.monotonic()
            while settled < self._total and time.monotonic() < changed_at + _STALLED_SECONDS:
                await asyncio.sleep(_LOOK_SECONDS)
                self._listener.check()
                before, settled = settled, len(self._listener.received.events)
                if settled > before or not all(task.done() for task in publishing):
                    changed_at = time.monotonic()
                if self.killed is None and 2 * settled >= self._total:
                    self._kill(settled)
                self._progress.counts(live.written + backlog.written, settled, self._total)
            if settled < self._total:
                self._progress.event(f"no answer has come for {_STALLED_SECONDS:.0f} s: giving up")

    def _kill(self, settled: int) -> None:
        name, pid = self._to_kill.name, self._to_kill.server.pid
        self._to_kill.kill()
        self.killed = Killed(name, pid, settled, self._total)
        self._progress.event(
            f"{name}: killed with SIGKILL, pid {pid}, when {settled:,} of {self._total:,} were"
            " settled; the other one goes on"
        )


@asynccontextmanager
async def _watching(processes: Iterable[Process]) -> AsyncIterator[None]:
    """End the block if a process ends by itself meanwhile."""
    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(process.watch()) for process in processes]
        yield
        for watch in watches:
            watch.cancel()


async def _until_empty(broker_url: str) -> None:
    """Wait, within a bound, until the queues are empty.

    What the killed worker had answered and not acknowledged is delivered and answered once more.
    """
    deadline = time.monotonic() + _EMPTY_SECONDS
    looks = 0
    while looks < _EMPTY_LOOKS and time.monotonic() < deadline:
        looks = 0 if await left(broker_url) else looks + 1
        await asyncio.sleep(_EMPTY_LOOK_SECONDS)


# The cause before its effects: what else fails when a process has ended says less.
_KNOWN: Final = (ServiceError, ProcessFailed, BrokerUnavailable, BrokerLost)


def _cause(error: BaseException, processes: Iterable[Process]) -> BaseException:
    """Of an error, or of several at once, the one to report."""
    try:
        for process in processes:
            process.check()
    except ProcessFailed as failed:
        return failed
    errors = _flat(error)
    found = (one for kind in _KNOWN for one in errors if isinstance(one, kind))
    return next(found, error)


def _flat(error: BaseException) -> list[BaseException]:
    several = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [leaf for inner in several for leaf in _flat(inner)] or [error]
