"""Replays of dead letters: how fast, how much memory, killed again and again, beside live traffic.

`make bench-replay`, or `python -m benchmarks.replay --only speed,live,kills`.

speed   10,000 letters unthrottled: seconds and resident memory of the whole command, once with
        nobody at work on the lane, once with a worker. Bounds: 10 s, 150 MB.
live    10,000 letters at half the quota beside live tokens: p99 of their wait from the publish to
        the event, before, during and after. Bound: a rise of 20 % or 50 ms, whichever is larger.
kills   5,000 letters, 20 SIGKILLs: each token is called for and settled once, each replay audited.

Ends with 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import aio_pika
import psutil

from benchmarks.ground import laid
from harness.installation import Installation
from harness.programs import COMMAND
from harness.reprocessing import failed, on_call, states
from harness.schema import addresses
from harness.waiting import eventually
from worker.adapters.rabbitmq.declaration import declare
from worker.adapters.rabbitmq.topology import topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aio_pika.abc import AbstractIncomingMessage

_MEGABYTE = 1_000_000
_WHY = ("--reason", "benchmark", "--all", "--json")
_ROOT = Path(__file__).parents[1]


class Bound(NamedTuple):
    """What was measured, in words, and whether it is within its bound."""

    words: str
    holds: bool


def main() -> int:
    """Measure what is wanted, and print each result as it comes."""
    options = _options()
    parts = {"speed": _speed, "live": _live, "kills": _kills}
    bounds = [
        bound for name in options.only.split(",") for bound in asyncio.run(parts[name](options))
    ]
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} CPUs")
    return int(not all(bound.holds for bound in bounds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="speed,live,kills")
    parser.add_argument("--letters", type=int, default=10_000)
    parser.add_argument("--quota", type=int, default=200, help="calls a second")
    parser.add_argument("--live", type=int, default=50, help="live tokens a second")
    parser.add_argument("--control", type=float, default=40.0, help="seconds without a replay")
    parser.add_argument("--kills", type=int, default=20)
    return parser.parse_args()


def _told(bound: Bound) -> Bound:
    print(f"{'ok  ' if bound.holds else 'MISS'} {bound.words}", flush=True)
    return bound


@asynccontextmanager
async def _stage(*simulator: str) -> AsyncIterator[Installation]:
    async with laid(*simulator) as ground_and_services:
        ground = ground_and_services.ground
        with (
            ground.broker.broker() as broker,
            ground.postgres.database(ground.template) as database,
        ):
            await declare(broker.url, topology({"5s": 5.0, "30s": 30.0, "2m": 120.0}))
            web, worker = map(broker.shipped, ("CALLER", "resolution_worker"))
            stage = Installation(
                broker,
                addresses(database),
                ground.simulator,
                ground.keys,
                ground.home,
                web,
                worker,
            )
            try:
                yield stage
            finally:
                stage.clear()


# --- speed ---


async def _speed(options: argparse.Namespace) -> list[Bound]:
    bounds = []
    for workers in (0, 1):
        async with _stage() as stage:
            await failed(stage, [f"ok-{n}-{'x' * 200}" for n in range(options.letters)])
            for _ in range(workers):
                await stage.run(WORKER_RETRY__DELAYS="5s,30s,2m")
            seconds, megabytes = await asyncio.to_thread(_measured, stage)
            words = (
                f"{options.letters} letters, {workers} worker: {seconds:.1f} s, {megabytes:.0f} MB"
            )
            bounds.append(_told(Bound(words, seconds <= 10 and megabytes <= 150)))
            if workers:
                await _all_resolved(stage, options.letters)
    return bounds


def _measured(stage: Installation) -> tuple[float, float]:
    environment = stage.environment(**on_call(stage))
    began = time.monotonic()
    process = psutil.Popen(
        [COMMAND, "dead-letters", "replay", *_WHY],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    most = 0
    while process.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.02)
    account = json.loads(process.stdout.read())
    assert process.wait(60) == 0, account
    return time.monotonic() - began, most / _MEGABYTE


async def _all_resolved(stage: Installation, letters: int) -> None:
    async def resolved() -> bool:
        return await states(stage) == {"resolved": letters}

    await eventually(resolved, "every letter is resolved", 300)


# --- live traffic beside a replay ---


class LiveTraffic:
    """Publishes live tokens evenly, and notes how long each waited for its event."""

    def __init__(self, exchange: aio_pika.abc.AbstractExchange) -> None:
        self._exchange = exchange
        self._sent: dict[str, float] = {}
        self._count = 0
        self.waits: list[float] = []

    async def receive(self, message: AbstractIncomingMessage) -> None:
        """An event: how long did its submission wait."""
        sent = self._sent.pop(message.correlation_id or "", None)
        if sent is not None:
            self.waits.append(time.monotonic() - sent)

    async def publish(self, rate: float, ending: asyncio.Event) -> None:
        """Publish so many a second until told to stop."""
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not ending.is_set():
                group.create_task(self._submit())
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _submit(self) -> None:
        self._count += 1
        ident = f"live-{self._count}"
        body = json.dumps({"version": 1, "registration_token": f"ok-{ident}-of-a-buyer"}).encode()
        message = aio_pika.Message(body, message_id=ident, correlation_id=ident, delivery_mode=2)
        self._sent[ident] = time.monotonic()
        await self._exchange.publish(message, "token", mandatory=True, timeout=60)

    def take(self) -> list[float]:
        """The waits since the last time."""
        waits, self.waits = self.waits, []
        return waits


@asynccontextmanager
async def _live_traffic(stage: Installation) -> AsyncIterator[LiveTraffic]:
    async with await aio_pika.connect(stage.broker.url, timeout=30) as connection:
        channel = await connection.channel(publisher_confirms=True)
        traffic = LiveTraffic(await channel.get_exchange("resolution", ensure=False))
        events = await (await connection.channel()).declare_queue(exclusive=True)
        await events.bind("resolution.events", "#")
        await events.consume(traffic.receive, no_ack=True)
        yield traffic


async def _live(options: argparse.Namespace) -> list[Bound]:
    quota = str(options.quota)
    simulator = ("--rate", quota, "--burst", quota, "--latency", "20ms±10ms")
    async with _stage(*simulator) as stage:
        await failed(stage, [f"ok-letter-{n}" for n in range(options.letters)])
        await stage.run(
            WORKER_RATE__CEILING=str(options.quota * 0.95), WORKER_RETRY__DELAYS="5s,30s,2m"
        )
        async with _live_traffic(stage) as traffic:
            spans = await _three_waits(stage, traffic, options)
    for name, waits in zip(("before", "during", "after"), spans, strict=True):
        shares = (f"p{p} {_quantile(waits, p) * 1000:.0f}" for p in (50, 95, 99))
        print(f"     {name}: {len(waits)} live tokens, ms: {', '.join(shares)}", flush=True)
    before, during, _ = (_quantile(waits, 99) for waits in spans)
    rise, allowed = during - before, max(0.2 * before, 0.05)
    words = (
        f"{options.letters} letters at {options.quota / 2:g}/s of {quota}/s beside "
        f"{options.live}/s live: p99 {before * 1000:.0f} ms before, {during * 1000:.0f} during; "
        f"rise {rise * 1000:+.0f} ms, allowed {allowed * 1000:.0f}"
    )
    return [_told(Bound(words, rise < allowed))]


async def _three_waits(
    stage: Installation, traffic: LiveTraffic, options: argparse.Namespace
) -> tuple[list[float], list[float], list[float]]:
    ending = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.publish(options.live, ending))
        await asyncio.sleep(10)
        traffic.take()
        await asyncio.sleep(options.control)
        before = traffic.take()
        environment = stage.environment(**on_call(stage))
        rate = ("--rate", str(options.quota / 2))
        replay = await asyncio.create_subprocess_exec(
            *(COMMAND, "dead-letters", "replay", *_WHY, *rate),
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        assert await replay.wait() == 0
        await _all_resolved(stage, options.letters)
        during = traffic.take()
        await asyncio.sleep(options.control / 2)
        after = traffic.take()
        ending.set()
    return before, during, after


def _quantile(waits: list[float], percent: int) -> float:
    assert len(waits) >= 100, f"only {len(waits)} live tokens had an event"
    return sorted(waits)[len(waits) * percent // 100]


# --- kills ---


async def _kills(options: argparse.Namespace) -> list[Bound]:
    test = "tests/acceptance/dead_letters/test_dead_letters_replayed.py"
    letters = options.letters // 2
    environment = os.environ | {
        "REPLAY_LETTERS": str(letters),
        "REPLAY_KILLS": str(options.kills),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-k", "again_and_again", test]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if "published twice" in line]
    print(*(lines or done.stdout.splitlines()[-20:]), sep="\n")
    words = f"{letters} letters, {options.kills} kills: each settled once, every replay audited"
    return [_told(Bound(words, done.returncode == 0))]


if __name__ == "__main__":
    sys.exit(main())
