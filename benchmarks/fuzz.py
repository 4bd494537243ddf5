"""Fuzzed messages, through the parser and through a running worker.

`make fuzz`, or `python -m benchmarks.fuzz --parsed 1000000 --sent 10000 --seed 7`. None may raise
in the parser. Through the worker each must have its outcome event, the worker must live on, and the
good tokens between them must not wait more than a second longer than good tokens alone do. Ends
with 1 if any of it fails.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aio_pika

from benchmarks.ground import laid
from benchmarks.mutation import Mutation
from benchmarks.vitals import starved_seconds
from harness.system import SETTINGS
from harness.waiting import eventually
from harness.web_tier import LANES, web_tier
from worker.core.records import Malformed
from worker.core.token.outgoing import malformed_answers
from worker.core.token.submissions import parse

if TYPE_CHECKING:
    from harness.programs import Worker
    from harness.web_tier import WebTier
    from worker.core.token.incoming import Incoming

_TICK_SECONDS = 0.05
_PATIENCE_SECONDS = 120.0
_GOOD_EVERY = 4
_CONTROL_SECONDS = 10.0


def main() -> int:
    """Fuzz both, and print what came of it."""
    options = _options()
    print(f"FUZZ_SEED={options.seed}", flush=True)
    faults = _parser(options.parsed, options.seed)
    if options.sent:
        faults += asyncio.run(_worker(options))
    for fault in faults[:20]:
        print(f"FAULT {fault}")
    return int(bool(faults))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parsed", type=int, default=1_000_000, help="messages for the parser")
    parser.add_argument("--sent", type=int, default=10_000, help="messages for a worker")
    parser.add_argument("--rate", type=float, default=150.0, help="of them a second")
    parser.add_argument(
        "--wait",
        type=float,
        default=1.0,
        help="most seconds that a good token waits longer than alone",
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    return parser.parse_args()


# --- the parser ---


def _parser(count: int, seed: int) -> list[str]:
    mutation, now = Mutation(random.Random(seed)), datetime.now(UTC)
    codes: Counter[str] = Counter()
    faults: list[str] = []
    began = time.monotonic()
    for number in range(count):
        message = mutation.message(number)
        try:
            codes[_read(message, now)] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            faults.append(f"message {number} of the parser: {error!r:.200}")
    seconds = time.monotonic() - began
    said = ", ".join(f"{code} {n}" for code, n in codes.most_common())
    print(f"parser: {count} messages in {seconds:.0f} s, {len(faults)} raised; {said}", flush=True)
    return faults


def _read(message: Incoming, now: datetime) -> str:
    parsed, _ = parse(message, now)
    if isinstance(parsed, Malformed):
        malformed_answers(parsed, now)
        return parsed.code
    return "sound"


# --- a worker ---


@dataclass(slots=True)
class _Sent:
    """What was published: fuzzed ones by the id of their outcome, and good tokens' confirms."""

    fuzzed: Counter[str] = field(default_factory=Counter)
    good: dict[str, float] = field(default_factory=dict)


async def _worker(options: argparse.Namespace) -> list[str]:
    async with laid() as field_, field_.ground.system(options.seed) as system:
        stage = system.stage
        async with web_tier(stage) as web:
            worker = await stage.run(**SETTINGS | {"WORKER_LOG__LEVEL": "info"})
            await web.settled("ok-first")  # what the first of all costs is nobody's neighbour
            pid = worker.process.pid
            began = time.monotonic(), starved_seconds(pid)
            alone = await _control(web, options)
            faults = await _through(web, worker, options, alone)
            share = (starved_seconds(pid) - began[1]) / (time.monotonic() - began[0])
            load = os.getloadavg()[0]
            print(
                f"load average {load:.1f}; the worker had no processor for {share:.0%} of the time"
            )
        worker.kill()
        return faults


async def _control(web: WebTier, options: argparse.Namespace) -> float:
    """The longest wait of good tokens that come alone, as many a second as both later."""
    sent, began = _Sent(), time.monotonic()
    pause = 1 / options.rate / (1 + 1 / _GOOD_EVERY)
    async with asyncio.TaskGroup() as group:
        for number in range(int(_CONTROL_SECONDS / pause)):
            group.create_task(_good(web, -number - 1, sent))
            await asyncio.sleep(max(0.0, began + number * pause - time.monotonic()))
    await eventually(lambda: not _missing(sent, web), "all are told", _PATIENCE_SECONDS)
    return _say_waits("good tokens alone", sent, web)


def _say_waits(who: str, sent: _Sent, web: WebTier) -> float:
    waits = sorted(
        max(0.0, _settled_at(web, ident) - at)
        for ident, at in sent.good.items()
        if web.events[ident]
    )
    print(
        f"{who} waited {waits[len(waits) // 2]:.3f} s (median),"
        f" {waits[len(waits) * 99 // 100]:.3f} s (99 of 100), {waits[-1]:.3f} s (most)",
        flush=True,
    )
    return waits[-1]


async def _through(
    web: WebTier, worker: Worker, options: argparse.Namespace, alone: float
) -> list[str]:
    began = time.monotonic()
    sent = await _publish(web, options)
    faults: list[str] = []
    try:
        await eventually(lambda: not _missing(sent, web), "all are told", _PATIENCE_SECONDS)
    except AssertionError:
        faults += [f"no event for {ident}" for ident in _missing(sent, web)]
    statuses = Counter(received[0].status for received in web.events.values() if received)
    print(
        f"worker: {sum(sent.fuzzed.values())} messages and {len(sent.good)} good tokens in"
        f" {time.monotonic() - began:.0f} s, {len(faults)} without an event; {dict(statuses)}"
    )
    most = _say_waits("good tokens among them", sent, web)
    if most > alone + options.wait:
        faults.append(f"a good token waited {most:.3f} s, {most - alone:.3f} more than alone")
    return faults + await _end(web, worker)


async def _publish(web: WebTier, options: argparse.Namespace) -> _Sent:
    mutation, sent = Mutation(random.Random(options.seed), sendable=True), _Sent()
    burst = max(1, round(options.rate * _TICK_SECONDS))
    loop = asyncio.get_running_loop()
    due = loop.time()
    for start in range(0, options.sent, burst):
        async with asyncio.TaskGroup() as group:
            for number in range(start, min(start + burst, options.sent)):
                group.create_task(_fuzzed(web, mutation.message(number), number, sent))
                if number % _GOOD_EVERY == 0:
                    group.create_task(_good(web, number, sent))
        due += _TICK_SECONDS
        await asyncio.sleep(max(0.0, due - loop.time()))
    return sent


async def _good(web: WebTier, number: int, sent: _Sent) -> None:
    ident = f"good-{number}"
    await web.submit(f"ok-good-{number}-{secrets.token_hex(8)}", message_id=ident)
    sent.good[ident] = time.time()


async def _fuzzed(web: WebTier, message: Incoming, number: int, sent: _Sent) -> None:
    parsed, _ = parse(message, datetime.now(UTC))
    sent.fuzzed[parsed.message_id] += 1
    published = aio_pika.Message(
        message.body,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        timestamp=message.timestamp,
        headers=dict(message.headers),
        content_type=(None, "text/plain", "application/json", "\u2603")[number % 4],
        content_encoding=(None, "gzip")[number % 2],
        priority=number % 256,
        type=("", "x" * 200)[number % 2],
        delivery_mode=1 + number % 2,
    )
    lane = "backlog" if number % 5 == 0 else "live"
    exchange = web._exchange  # noqa: SLF001 - with more properties than a web tier sends
    confirm = await exchange.publish(published, LANES[lane], mandatory=True, timeout=60)
    assert type(confirm).__name__ == "Ack", confirm


def _missing(sent: _Sent, web: WebTier) -> list[str]:
    due = sent.fuzzed + Counter(dict.fromkeys(sent.good, 1))
    return [ident for ident, count in due.items() if len(web.events[ident]) < count]


def _settled_at(web: WebTier, ident: str) -> float:
    return datetime.fromisoformat(web.events[ident][0].body["settled_at"]).timestamp()


async def _end(web: WebTier, worker: Worker) -> list[str]:
    """What is wrong with the worker afterwards."""
    faults = []
    if worker.process.poll() is not None:
        faults.append(f"the worker ended with {worker.process.returncode}")
    elif (await worker.get("/healthz"))[0] != 200:
        faults.append("the worker is not healthy")
    if "Traceback" in worker.said:
        at = worker.said.index("Traceback")
        faults.append(f"a traceback in the log: {worker.said[at - 300 : at + 3000]}")
    depths = await web.depths()
    faults += [f"{left} left in {queue}" for queue, left in depths.items() if left]
    return faults


if __name__ == "__main__":
    sys.exit(main())
