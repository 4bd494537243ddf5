"""Callers of the client while all around them breaks: nobody is left without an answer."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
import uuid
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from harness.connections import drop_connections
from harness.system import SETTINGS, tell
from harness.waiting import eventually
from resolution_client import NotPublished, Pending, Resolved, Resolver
from tests.seeds import seeds

if TYPE_CHECKING:
    from harness.ground import Ground
    from harness.installation import Installation
    from resolution_client import Answer
    from worker.lab.servers import RabbitMQ

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

CALLERS = 200
FAULTS = 10
WAIT = 20.0
LATE_SECONDS = 1.0
"""Between the deadline and the moment at which a task on a busy machine looks at its clock."""


class _Caller:
    """One buyer after another; what each was told, and whether it was in time."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.tokens: dict[str, Answer] = {}
        self.unpublished: list[str] = []
        self.slowest = 0.0

    async def run(self, ends: asyncio.Event) -> None:
        while not ends.is_set():
            token = f"ok-{uuid.uuid4().hex}"
            began = time.monotonic()
            try:
                answer = await self._resolver.resolve(token, wait=WAIT)
            except NotPublished:
                self.unpublished.append(token)
            else:
                assert answer.token_sha256 == _sha256(token)
                self.tokens[token] = answer
            self.slowest = max(self.slowest, time.monotonic() - began)
            await asyncio.sleep(0.5)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.parametrize("seed", seeds("FAULT"))
async def test_callers_through_outages(
    broker_ground: Ground, own_rabbitmq: RabbitMQ, seed: int
) -> None:
    """200 callers, ten faults: each gets an outcome or a clear error in time, and none is lost."""
    chance = random.Random(seed)
    async with broker_ground.stage() as stage:
        await own_rabbitmq.sync()  # the virtual host, its users and queues are just made
        try:
            async with Resolver(stage.web) as resolver:
                await _run(stage, resolver, own_rabbitmq, chance)
        finally:
            stage.clear()


async def _run(
    stage: Installation, resolver: Resolver, broker: RabbitMQ, chance: random.Random
) -> None:
    told: set[str | None] = set()

    async def listen() -> None:
        async with aclosing(resolver.settled("provisioning")) as settled:
            async for answer in settled:
                told.add(answer.token_sha256)

    listening = asyncio.create_task(listen())
    for _ in range(2):
        await stage.run(**SETTINGS)
    while not told:
        await resolver.resolve(f"ok-{uuid.uuid4().hex}", wait=WAIT)
    ends = asyncio.Event()
    callers = [_Caller(resolver) for _ in range(CALLERS)]
    running = [asyncio.create_task(caller.run(ends)) for caller in callers]
    for number in range(FAULTS):
        await asyncio.sleep(chance.uniform(0.5, 2.0))
        await _break(stage, broker, number)
    ends.set()
    await asyncio.gather(*running)
    published = {_sha256(token) for caller in callers for token in caller.tokens}
    await eventually(lambda: published <= told, "settled has told of each", 90)
    await resolver.close()
    await listening
    await _judge(stage, callers, published)


async def _break(stage: Installation, broker: RabbitMQ, number: int) -> None:
    """Restart the broker, close its connections, or kill a worker, in turn."""
    match number % 3:
        case 0:
            await drop_connections(stage.broker)
        case 1:
            stage.started.pop(0).kill()
            await stage.run(**SETTINGS)
        case 2:
            broker.server.kill()
            await broker.server.start()


async def _judge(stage: Installation, callers: list[_Caller], published: set[str]) -> None:
    answers = [answer for caller in callers for answer in caller.tokens.values()]
    kinds = Counter(type(answer).__name__ for answer in answers)
    unpublished = sum(len(caller.unpublished) for caller in callers)
    slowest = max(caller.slowest for caller in callers)
    tell(f"client: {dict(kinds)}, {unpublished} not published, slowest {slowest:.1f} s")
    assert all(isinstance(answer, (Resolved, Pending)) for answer in answers)
    assert kinds["Resolved"] > CALLERS
    assert slowest <= WAIT + LATE_SECONDS
    rows = await stage.schema.rows("SELECT token_sha256 FROM resolution.outcomes")
    assert published <= {row["token_sha256"].hex() for row in rows}
