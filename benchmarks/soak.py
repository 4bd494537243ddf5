"""Workers under random faults at random moments, for as long as one likes.

`make soak MINUTES=20`, or `python -m benchmarks.soak --minutes 20 --tokens 100000 --seed 7`. Tokens
of all kinds are published evenly over the time, while one fault after another befalls the workers
and what is around them. One worker is spared restarts, so that what grows can be seen in it. At the
end the books are checked, and one line tells of each kind of fault. Ends with 1 if anything was
lost, doubled, leaked or otherwise wrong, if the work did not go on within 15 s of a fault's end
(30 s where AWS's quota itself fell: so long it takes to find it again, see docs/pacing.md), or if
the spared worker grew.

Work goes on once a token is settled by a call that was made after the fault. A token published at
its end must be settled in that time too, unless it has hundreds of others before it, for then it
waits for them and not for the worker; its wait is printed beside.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks.breakage import FAULTS, QUOTA_FELL, Replicas
from benchmarks.ground import laid
from benchmarks.vitals import Vitals, starved_seconds
from harness.history import EVENT, History, check, count
from harness.system import QUEUES
from harness.tcp_proxy import proxy_to
from harness.waiting import eventually

if TYPE_CHECKING:
    from harness.history import Finding, Received, Submission
    from harness.system import System

_RECOVERY_SECONDS = 15.0
_QUOTA_RECOVERY_SECONDS = 30.0
_SETTLE_SECONDS = 180.0
_CHUNK_SECONDS = 0.25
LIFETIME_EXCEEDED = "LifetimeExceeded"
_LINES = 60
_SLOW_SECONDS = 6.0  # from here on the report says what the workers said meanwhile
_CALM_SECONDS = (0.5, 4.0)
_PER_MINUTE = 5000
_MOST_UNSETTLED = 1500
_MANY_UNSETTLED = 500


@dataclass(slots=True)
class _Report:
    recoveries: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)


async def main() -> int:
    """Publish, hurt, sample, reckon."""
    options = _options()
    print(f"SOAK_SEED={options.seed} minutes={options.minutes:g} tokens={options.tokens}")
    chance = random.Random(options.seed)
    async with (
        laid() as field_,
        field_.ground.system(options.seed) as system,
        proxy_to(system.stage.simulator.url) as system.door,  # nobody counts calls: the short way
    ):
        replicas = await Replicas.start(system, field_.services, options.workers)
        report, vitals = _Report(), Vitals(replicas)
        findings: list[Finding] = []
        try:
            async with asyncio.TaskGroup() as group:
                publishing = group.create_task(_publish(system, options))
                sampling = group.create_task(vitals.sample())
                await _hurt(replicas, chance, publishing, report, options.only)
                await _end(system, replicas, report)
                sampling.cancel()
            findings = await _judged(system, replicas)
        except* AssertionError as error:
            report.faults += [str(one) for one in error.exceptions]
            findings = check(system.client.sent, await _history(system, replicas))
        return _tell(report, findings, vitals, system)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=20.0, help="of publishing")
    parser.add_argument("--tokens", type=int, help=f"default: {_PER_MINUTE} a minute")
    parser.add_argument("--workers", type=int, default=3, help="one of them is never restarted")
    parser.add_argument("--only", default="", help="faults with this in their name alone")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    options = parser.parse_args()
    options.tokens = options.tokens or int(options.minutes * _PER_MINUTE)
    return options


async def _publish(system: System, options: argparse.Namespace) -> None:
    """Evenly over the time; slower where the workers fall behind."""
    size = max(1, round(options.tokens / (options.minutes * 60) * _CHUNK_SECONDS))
    client = system.client
    loop = asyncio.get_running_loop()
    due, published = loop.time(), 0
    while published < options.tokens:
        chunk = system.factory.some(min(size, options.tokens - published))
        published += len(chunk)
        await client.publish_all(chunk)
        while _unsettled(system) > _MOST_UNSETTLED:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(_CHUNK_SECONDS)
        due = max(due + _CHUNK_SECONDS, loop.time() - 10)
        await asyncio.sleep(max(0.0, due - loop.time()))


def _unsettled(system: System) -> int:
    return len(system.client.sent) - len(system.client._finals)  # noqa: SLF001 - the recorder is ours


async def _hurt(
    replicas: Replicas,
    chance: random.Random,
    publishing: asyncio.Task[None],
    report: _Report,
    only: str,
) -> None:
    """One fault after another, in any order but none left out, while there is work."""
    names = sorted(name for name in FAULTS if only in name)
    assert names, f"no fault has {only!r} in its name: {', '.join(FAULTS)}"
    deck: list[str] = []
    began = time.monotonic()
    while not publishing.done():
        deck = deck or chance.sample(names, len(names))
        name = deck.pop()
        said = {id(worker): len(worker.err) for worker in replicas.workers}
        await FAULTS[name](replicas, chance)
        ended, starved = datetime.now(UTC), starved_seconds()
        queued = _unsettled(replicas.system)
        waited, fresh = await _wait(replicas.system)
        went_on = _went_on(replicas.system, ended)
        recovered = went_on if queued > _MANY_UNSETTLED else max(went_on, waited)
        report.recoveries[name].append(recovered)
        _say(
            f"{time.monotonic() - began:6.0f} s {name}: back after {recovered:.1f} s,"
            f" a token behind {queued} others waited {waited:.1f} s",
            replicas.system,
        )
        if recovered >= _SLOW_SECONDS:
            print(f"    the fault ended at {ended}, {_way(replicas.system, fresh, ended)}")
            starved = starved_seconds() - starved
            print(
                f"    meanwhile this program, the way of all traffic, starved for {starved:.1f} s"
            )
            _explain(replicas, said)
        await asyncio.sleep(chance.uniform(*_CALM_SECONDS))


def _say(words: str, system: System) -> None:
    print(f"{words}; {len(system.client.sent)} sent, {_unsettled(system)} unsettled", flush=True)


def _way(system: System, fresh: Submission, ended: datetime) -> str:
    """Where a token spent its time: a worker has it from `received_at` to `settled_at`."""
    (received, *_) = [one for one in system.client.received if _is_event(one, fresh)]
    steps = {
        name: datetime.fromisoformat(received.body[name]) for name in ("received_at", "settled_at")
    }
    steps = {"confirmed": datetime.fromtimestamp(fresh.at, UTC), **steps}
    steps["event"] = datetime.fromtimestamp(received.at, UTC)
    return ", ".join(f"{name} +{(at - ended).total_seconds():.1f} s" for name, at in steps.items())


def _is_event(received: Received, fresh: Submission) -> bool:
    return received.channel == EVENT and received.body["message_id"] == fresh.message_id


def _explain(replicas: Replicas, said: dict[int, int]) -> None:
    """What the workers have said since the fault began."""
    for place, worker in enumerate(replicas.workers):
        lines = worker.err[said.get(id(worker), 0) :]
        for line in [line for line in lines if "message_malformed" not in line][-_LINES:]:
            print(f"    worker {place}: {line.rstrip()[:300]}", flush=True)


def _went_on(system: System, ended: datetime) -> float:
    """Seconds from the end of a fault until a token was settled by a call of its own."""
    settled = [
        datetime.fromisoformat(one.body["settled_at"])
        for one in system.client.received
        if one.channel == EVENT and one.at > ended.timestamp() and _is_news(one)
    ]
    return min((at - ended).total_seconds() for at in settled if at > ended)


def _is_news(received: Received) -> bool:
    """Whether a call has settled it, and not the parser, the ledger or its age."""
    body = received.body
    uncalled = body["error"] is not None and body["error"]["code"] == LIFETIME_EXCEEDED
    return body["status"] != "malformed" and not body["repeated"] and not uncalled


async def _wait(system: System) -> tuple[float, Submission]:
    """Seconds until a token is settled that is published now, in the live lane; and the token."""
    began = time.time()
    (fresh,) = system.factory.of("ok-{n}", lane="live")
    fresh = await system.client.publish(fresh)
    await _settled(system, [fresh], _SETTLE_SECONDS)
    return (system.client.settled_at(fresh.message_id) or time.time()) - began, fresh


async def _settled(system: System, some: list[Submission], seconds: float) -> None:
    settled_at = system.client.settled_at
    left = {one.message_id for one in some}

    def all_heard() -> bool:
        left.difference_update([ident for ident in left if settled_at(ident) is not None])
        return not left

    await eventually(all_heard, f"{len(left)} have their events", seconds)


async def _end(system: System, replicas: Replicas, report: _Report) -> None:
    began = time.monotonic()
    await _settled(system, system.client.sent, _SETTLE_SECONDS)
    await system.empty()
    for worker in replicas.workers:
        await worker.ready()
    _say(f"all settled {time.monotonic() - began:.1f} s after the last fault", system)
    for name, times in report.recoveries.items():
        bound = _QUOTA_RECOVERY_SECONDS if name == QUOTA_FELL else _RECOVERY_SECONDS
        if max(times) > bound:
            report.faults.append(f"after {name!r} work went on only after {max(times):.1f} s")


async def _judged(system: System, replicas: Replicas) -> list[Finding]:
    codes = await replicas.drain()
    assert set(codes) == {0}, f"workers ended with {codes}"

    async def drained() -> bool:
        return not any((await system.client.depths()).values())

    await eventually(drained, "all events and replies are received")
    return check(system.client.sent, await _history(system, replicas))


async def _history(system: System, replicas: Replicas) -> History:
    rows = system.stage.schema.rows
    found = History(
        received=system.client.received,
        canaries=[system.factory.salt],
        queues=await system.client.depths(*QUEUES),
    )
    for name in ("outcomes", "agreements", "malformed"):
        table = await rows(f"SELECT * FROM resolution.{name}")  # noqa: S608 - one of three names
        setattr(found, name, [dict(row) for row in table])
    found.letters = [dict(row) for row in await rows("SELECT * FROM resolution.dead_letter")]
    found.texts = {f"worker {n}'s log": one.said for n, one in enumerate(replicas.all)}
    return found


def _tell(report: _Report, findings: list[Finding], vitals: Vitals, system: System) -> int:
    for name, times in sorted(report.recoveries.items()):
        print(
            f"fault={name!r} times={len(times)} recovery_s={statistics.median(times):.1f}"
            f" most_s={max(times):.1f}"
        )
    report.faults += vitals.tell()
    print(f"sent={len(system.client.sent)} {count(findings)}")
    for words in (*report.faults, *map(str, findings[:20])):
        print(f"FAULT {words}")
    return int(bool(report.faults or findings))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
