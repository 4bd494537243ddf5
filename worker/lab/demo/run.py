"""What happens, in its order: the stage is set, the show is played, the account is drawn up."""

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

from worker.lab.demo import account, archive, external_servers, processes, waits
from worker.lab.demo.faults import the_fault
from worker.lab.demo.listener import audience
from worker.lab.demo.load import Killed, Performance, Pipes
from worker.lab.demo.plan import BACKLOG, LIVE, plan
from worker.lab.demo.publishing import publishing
from worker.lab.demo.servers import Stage, empty_stage, hire, set_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from worker.lab.demo.account import Account
    from worker.lab.demo.listener import Audience
    from worker.lab.demo.plan import Plan
    from worker.lab.demo.progress import Tell
    from worker.lab.demo.publishing import Publishing
    from worker.lab.demo.waits import Wait

_WORKERS: Final = (1, 2)
_QUIET_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.4


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended.

    Attributes:
        run: Every message id of the run begins with it.
        tokens: How many different tokens there were.
        where: Which servers were used.
        account: Whether everything came out as demanded.
        waits: How long the buyers waited.
        throughput: Submissions answered a second, over the middle nine tenths of them.
        events: How many events were heard; more than messages, if any was said again.
        killed: Who was killed, and when; None if it never came to that.
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


@dataclass(frozen=True, slots=True)
class Script:
    """What is to be played.

    Attributes:
        tokens: How many different tokens.
        seed: What chance starts from: order, lanes, copies, and who is killed.
        environ: May name servers.
    """

    tokens: int
    seed: int
    environ: Mapping[str, str]


async def perform(script: Script, tell: Tell) -> Ending:
    """Run the whole demo; nothing of it is left when this returns or raises.

    Raises:
        SettingsError: A server is named in a way that can't be accepted.
        ServiceError: A server can't be had or used.
        BrokerUnavailable: There is no connection to the broker.
        BrokerLost: It was lost on the way.
        NotPublished: The broker does not take the tokens.
        Died: A process has ended by itself.
    """
    chance = random.Random(script.seed)  # noqa: S311 - shuffles, keeps no secret
    laid = plan(f"demo-{secrets.token_hex(4)}", script.tokens, chance)
    with tempfile.TemporaryDirectory(prefix="resolution-demo-") as folder:
        stage = empty_stage(Path(folder), script.environ)
        async with AsyncExitStack() as stack:
            try:
                await set_up(stage, stack, laid.run, tell)
                return await _show(stage, stack, laid, chance, tell)
            except Exception as error:
                raise the_fault(error, stage.players) from error


async def _show(
    stage: Stage, stack: AsyncExitStack, laid: Plan, chance: random.Random, tell: Tell
) -> Ending:
    listening = await stack.enter_async_context(audience(stage.broker_url, laid))
    async with asyncio.TaskGroup() as group:
        hiring = [group.create_task(hire(stage, stack, number, tell)) for number in _WORKERS]
        pipes = Pipes(*[await _pipe(stage, stack, lane) for lane in (LIVE, BACKLOG)])
    workers = [task.result() for task in hiring]
    victim = chance.choice(workers)
    async with _watching(stage):
        performance = Performance(laid, listening, pipes, victim, tell)
        await performance.run()
        await _quiet(stage)
        (survivor,) = (worker for worker in workers if worker is not victim)
        drained = await survivor.stop()
        tell.say(f"{survivor.name}: {'drained and ended' if drained else 'did not end'} in order")
        return await _ending(stage, laid, listening, performance.killed, drained=drained)


async def _pipe(stage: Stage, stack: AsyncExitStack, lane: str) -> Publishing:
    # Started early, so that it already waits for lines when the first buyer comes.
    environment = stage.environment | stage.publisher
    return await stack.enter_async_context(publishing(lane, stage.directory, environment))


@asynccontextmanager
async def _watching(stage: Stage) -> AsyncIterator[None]:
    """End the block if a process ends by itself meanwhile."""
    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(player.watch()) for player in stage.players]
        yield
        for watch in watches:
            watch.cancel()


async def _quiet(stage: Stage) -> None:
    """Wait, within a bound, until nothing waits any more.

    What the killed worker had answered and not acked is delivered and answered once more.
    """
    deadline = time.monotonic() + _QUIET_SECONDS
    looks = 0
    while looks < 2 and time.monotonic() < deadline:  # noqa: PLR2004 - a message may be between two queues
        looks = 0 if await external_servers.left(stage.broker_url) else looks + 1
        await asyncio.sleep(_LOOK_SECONDS)


async def _ending(
    stage: Stage, laid: Plan, listening: Audience, killed: Killed | None, *, drained: bool
) -> Ending:
    hearing = listening.hearing
    records = await archive.records(stage.database_dsn, laid)
    return Ending(
        run=laid.run,
        tokens=len(laid.originals),
        where=stage.where,
        account=account.settle(laid, records, hearing),
        waits=waits.waits(laid, hearing),
        throughput=waits.throughput(hearing),
        events=sum(heard.events for heard in hearing.events.values()),
        killed=killed,
        drained=drained,
        left=await external_servers.left(stage.broker_url),
        calls=await processes.calls(stage.simulator),
    )
