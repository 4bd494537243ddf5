"""A million tokens in one run while workers are killed at random, and whether the books balance.

`make bench-million`, or `python -m benchmarks.million --tokens 100000 --seed 7`. Tokens are
published as fast as they are settled, each as long as a real one; every few seconds one of the
workers is killed (SIGKILL) and started anew. At the end each token must be resolved once in the
ledger, an observer must have its event, no queue may hold a message and no dead letter be there.
Ends with 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aio_pika
import asyncpg

from benchmarks.price.contenders import OURS
from benchmarks.price.ground import DELAYS, servers, simulator
from worker.adapters.rabbitmq.publisher import Publisher
from worker.adapters.rabbitmq.topology import topology
from worker.core.token.outgoing import Outgoing

if TYPE_CHECKING:
    from aiormq.abc import DeliveredMessage

_BATCH: Final = 2000
_MOST_AHEAD: Final = 50_000
_KILL_SECONDS: Final = (3.0, 12.0)
_STANDSTILL_SECONDS: Final = 120.0
_GOODBYE_SECONDS: Final = 30.0
_REPORT: Final = 50_000
_QUEUES: Final = [queue.name for queue in topology(DELAYS).queues]
_COUNTS: Final = """
SELECT
    (SELECT count(*) FROM resolution.outcomes) AS settled,
    (SELECT count(*) FROM resolution.outcomes WHERE status = 'resolved') AS resolved,
    (SELECT count(DISTINCT token_sha256) FROM resolution.outcomes) AS tokens,
    (SELECT count(*) FROM resolution.dead_letter) AS dead_letters
"""


@dataclass
class Observer:
    """Which tokens had their event, and how often."""

    tokens: int
    events: bytearray = field(init=False)
    told: int = 0

    def __post_init__(self) -> None:
        self.events = bytearray(self.tokens)

    async def take(self, message: DeliveredMessage) -> None:
        """Note an event."""
        number = int(message.header.properties.message_id or 0)
        self.told += not self.events[number]
        self.events[number] = min(255, self.events[number] + 1)

    async def all_told(self) -> None:
        """Wait until each token had one; prints how far it has come."""
        began = moved = time.monotonic()
        last = reported = 0
        while self.told < self.tokens:
            await asyncio.sleep(0.5)
            now = time.monotonic()
            if self.told > last:
                last, moved = self.told, now
            assert now - moved < _STANDSTILL_SECONDS, f"nothing since {last} tokens"
            if self.told >= reported + _REPORT:
                reported = self.told
                print(f"{now - began:7.0f} s {self.told:>10,} tokens", flush=True)


class Workers:
    """Some `run`, of which one after another is killed."""

    def __init__(self, count: int, chance: random.Random) -> None:
        self._chance = chance
        self._running = [self._start() for _ in range(count)]
        self.kills = 0

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(OURS.started_by(64))

    async def kill(self) -> None:
        """Kill one at random moments, and start another, until cancelled."""
        while True:
            await asyncio.sleep(self._chance.uniform(*_KILL_SECONDS))
            place = self._chance.randrange(len(self._running))
            self._end(self._running[place], signal.SIGKILL)
            self._running[place] = self._start()
            self.kills += 1

    def stop(self) -> None:
        """Let all drain."""
        for each in self._running:
            self._end(each, signal.SIGTERM)

    @staticmethod
    def _end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
        process.send_signal(how)
        process.wait(_GOODBYE_SECONDS)


async def main(options: argparse.Namespace) -> int:
    """Publish, kill, and count."""
    print(f"seed={options.seed} tokens={options.tokens:,} workers={options.workers}", flush=True)
    async with servers():
        with simulator():
            async with await aio_pika.connect(os.environ["WORKER_AMQP__URL"]) as connection:
                return await _run(options, connection)


async def _run(options: argparse.Namespace, connection: aio_pika.abc.AbstractConnection) -> int:
    wire = await (await connection.channel()).get_underlay_channel()
    observer = Observer(options.tokens)
    queue = (await wire.queue_declare("", exclusive=True)).queue or ""
    await wire.queue_bind(queue, "resolution.events", "token.*")
    await wire.basic_consume(queue, observer.take, no_ack=True)
    os.environ["WORKER_POOL__CONCURRENCY"] = "64"
    workers = Workers(options.workers, random.Random(options.seed))
    began = time.monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(workers.kill())
            group.create_task(_publish(connection, observer))
            await observer.all_told()
            killing.cancel()
    finally:
        await asyncio.to_thread(workers.stop)
    return await _reckon(observer, workers.kills, time.monotonic() - began, wire)


async def _publish(connection: aio_pika.abc.AbstractConnection, observer: Observer) -> None:
    publisher = await Publisher.open(connection)
    for start in range(0, observer.tokens, _BATCH):
        while start - observer.told > _MOST_AHEAD:  # noqa: ASYNC110 - the observer tells nobody
            await asyncio.sleep(0.1)
        numbers = range(start, min(start + _BATCH, observer.tokens))
        failed = [
            fault
            for fault in await publisher.publish_all([_message(each) for each in numbers], 60)
            if fault
        ]
        assert not failed, failed[0]


def _message(number: int) -> Outgoing:
    message = OURS.message(f"ok-million-{number}-".ljust(300, "x"))
    return Outgoing(OURS.exchange, "token", message.body, str(number), mandatory=True)


async def _reckon(observer: Observer, kills: int, seconds: float, wire: Any) -> int:
    """Print the books; 1 if they do not balance."""
    database = await asyncpg.connect(os.environ["WORKER_POSTGRES__DSN"])
    books = dict(await database.fetchrow(_COUNTS) or {})
    await database.close()
    left = {name: (await wire.queue_declare(name, passive=True)).message_count for name in _QUEUES}
    again = sum(count - 1 for count in observer.events if count)
    print(f"{kills} kills, {seconds:.0f} s, {observer.tokens / seconds:.0f} tokens a second")
    print(f"ledger: {books}; events told again: {again:,}; left in queues: {left}", flush=True)
    wanted = dict.fromkeys(("settled", "resolved", "tokens"), observer.tokens)
    balanced = books == {**wanted, "dead_letters": 0} and not any(left.values())
    print("the books balance" if balanced else "THE BOOKS DO NOT BALANCE")
    return int(not balanced)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(_options())))
