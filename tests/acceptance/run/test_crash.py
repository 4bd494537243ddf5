"""Workers killed at random moments: nothing is lost, doubled, leaked or settled otherwise."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
import zlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

from harness.history import EVENT, MALFORMED, Due, History, Received, Submission, check, count, due
from harness.installation import DELAYS
from harness.waiting import eventually
from tests.seeds import seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.installation import Installation
    from harness.web_tier import WebTier

TOKENS = 4_000
KILLS = 10
WORKERS = 2
COPIES = 0.08
SECONDS = 240.0  # about 35 on a machine that does nothing else
RETRYING = tuple(f"resolution.retry.{delay}" for delay in DELAYS.split(","))

# How many of each kind; the rest is `ok`. A denied token stops all calls for a moment.
KINDS = {
    "same-{customer}-{n}": 600,
    "new-{n}": 600,
    "old-{n}": 400,
    "slow-300-{n}": 40,
    "throttle-1-{n}": 60,
    "throttle-4-{n}": 20,
    "fail-1-{n}": 100,
    "fail-2-{n}": 60,
    "invalid-{n}": 500,
    "unknown-{n}": 100,
    "expired-{n}": 400,
    "hang-{n}": 4,
    "garbage-{n}": 40,
    "empty-{n}": 40,
    "denied-{n}": 2,
}
SETTINGS = {
    "WORKER_AWS__TIMEOUT": "2s",
    "WORKER_RATE__CEILING": "220",
    "WORKER_RETRY__ATTEMPTS": "4",
    "WORKER_RETRY__DELAYS": DELAYS,
}


def submissions(chance: random.Random, salt: str) -> list[Submission]:
    """Messages of all kinds, copies of some, and some that can't be read, in any order."""
    words = [word for word, count in KINDS.items() for _ in range(count)]
    words += ["ok-{n}"] * (TOKENS - len(words))
    tokens = [
        word.format(n=f"{n}-{salt}", customer=100_000_000_000 + n % 50)
        for n, word in enumerate(words)
    ]
    copied = [token for token in tokens if chance.random() < COPIES]
    sent = [_message(n, token) for n, token in enumerate(tokens + copied)]
    sent += chance.sample(sent, 100)  # the very same message twice
    sent += [_unreadable(n) for n in range(50)]
    chance.shuffle(sent)
    return sent


def _message(n: int, token: str) -> Submission:
    body = json.dumps({"version": 1, "registration_token": token}).encode()
    lane = "backlog" if zlib.crc32(body) % 3 == 0 else "live"
    return Submission(message_id=f"m-{n}", body=body, token=token, due=(due(token),), lane=lane)


def _unreadable(n: int) -> Submission:
    return Submission(message_id=f"bad-{n}", body=b"bad %d" % n, token=None, due=(Due(MALFORMED),))


class Replicas:
    """Two workers, of which one at a time is killed and started again."""

    def __init__(self, stage: Installation, chance: random.Random) -> None:
        self._stage = stage
        self._chance = chance
        self.workers = [stage.start(**SETTINGS) for _ in range(WORKERS)]
        self.all = list(self.workers)
        self.killed_at_work = 0

    async def suffer(
        self, n: int, publish: Callable[[], None], is_over: Callable[[], bool]
    ) -> None:
        """Give them work, kill one at a random moment soon, and start another in its place."""
        place = self._chance.randrange(WORKERS)
        if n % 5:  # every fifth dies wherever it is, the start included
            await eventually(partial(self._works, place), "a worker consumes", SECONDS)
        publish()
        await asyncio.sleep(self._chance.uniform(0.0, 1.0))  # the moment is the chance
        assert not is_over(), f"all was settled after {n} kills: too few tokens"
        self.killed_at_work += self._works(place)
        self.workers[place].kill()
        self.workers[place] = self._stage.start(**SETTINGS)
        self.all.append(self.workers[place])

    def _works(self, place: int) -> bool:
        logged = self.workers[place].logged
        return bool(logged("consuming") or logged("settled"))

    async def dismiss(self) -> list[int]:
        """Let all of them drain; their exit codes."""
        for worker in self.workers:
            await worker.ready()  # one that has only just begun knows no signal yet
            worker.send(signal.SIGTERM)
        return [await worker.exit_code() for worker in self.workers]


async def history(stage: Installation, web: WebTier, replicas: Replicas, salt: str) -> History:
    """Everything that can be found out once all workers are gone."""
    rows = stage.schema.rows
    now = time.time()  # nobody noted when each was told
    found = History(canaries=[salt], queues=await web.depths(*RETRYING))
    found.received = [
        Received(EVENT, one.routing_key, one.correlation_id, one.body, now)
        for some in web.events.values()
        for one in some
    ]
    for name in ("outcomes", "agreements", "malformed"):
        table = await rows(f"SELECT * FROM resolution.{name}")
        setattr(found, name, [dict(row) for row in table])
    found.letters = [dict(row) for row in await rows("SELECT * FROM resolution.dead_letter")]
    found.texts = {f"worker {n}'s log": one.said for n, one in enumerate(replicas.all)}
    return found


@pytest.mark.crash
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("simulator", [("--latency", "20ms±10ms")], ids=["slow"], indirect=True)
@pytest.mark.parametrize("seed", seeds("CRASH"))
async def test_crashes_lose_and_double_nothing(
    stage: Installation, web: WebTier, seed: int
) -> None:
    """After kills at random moments every token has its due outcome once, and all is told."""
    print(f"CRASH_SEED={seed}")  # noqa: T201 - for the reader of a report
    chance, salt = random.Random(seed), f"canary{seed:x}"
    sent = submissions(chance, salt)
    began = time.monotonic()
    replicas = Replicas(stage, chance)

    await _endure(replicas, web, sent)
    settled = time.monotonic() - began
    codes = await replicas.dismiss()
    findings = check(sent, await history(stage, web, replicas, salt))

    print(  # noqa: T201 - for the reader of a report
        f"{len(sent)} messages, {KILLS} kills ({replicas.killed_at_work} at work), {settled:.1f} s,"
        f" {count(findings)}"
    )
    assert codes == [0] * WORKERS
    assert replicas.killed_at_work >= KILLS * 4 // 5
    assert findings == []


async def _endure(replicas: Replicas, web: WebTier, sent: list[Submission]) -> None:
    ids = {one.message_id for one in sent}

    def is_over() -> bool:
        return ids <= web.events.keys()

    async with asyncio.TaskGroup() as group:
        for n, share in enumerate(_shares(sent)):

            def publish(some: list[Submission] = share) -> None:
                group.create_task(_publish(web, some))

            await replicas.suffer(n, publish, is_over)

    await eventually(is_over, "every message has an event", SECONDS)

    async def is_empty() -> bool:
        return not any((await web.depths(*RETRYING)).values())

    await eventually(is_empty, "all queues are empty")


def _shares(sent: list[Submission]) -> Iterator[list[Submission]]:
    """A share for each kill, about half of all for the first: however slow, each meets work."""
    size = len(sent) // (2 * KILLS)
    first = len(sent) - (KILLS - 1) * size
    yield sent[:first]
    for start in range(first, len(sent), size):
        yield sent[start : start + size]


async def _publish(web: WebTier, sent: list[Submission]) -> None:
    """Publish into both lanes, many at once."""
    for start in range(0, len(sent), 200):
        publishing = (
            web.publish(one.body, message_id=one.message_id, lane=one.lane)
            for one in sent[start : start + 200]
        )
        await asyncio.gather(*publishing)
