"""Workers killed at random moments: nothing is lost, doubled or settled otherwise than due."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.reckoning import History, Sent, reckon, said, sha
from tests.acceptance.stage import DELAYS, eventually
from tests.seeds import seeds

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.front import Front
    from tests.acceptance.stage import Stage

TOKENS = 5_000
KILLS = 10
WORKERS = 2
COPIES = 0.08
SECONDS = 240.0  # about 40 on a machine that does nothing else
RETRYING = tuple(f"resolution.retry.{delay}" for delay in DELAYS.split(","))

# How many of each kind; the rest is `ok`. A denied token stops all calls for a moment.
CROWD = {
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


def crowd(chance: random.Random) -> list[Sent]:
    """Messages of all kinds, copies of some, and some that can't be read, in any order."""
    words = [word for word, count in CROWD.items() for _ in range(count)]
    words += ["ok-{n}"] * (TOKENS - len(words))
    salt = f"{chance.getrandbits(64):x}"
    tokens = [
        word.format(n=f"{n}-{salt}", customer=100_000_000_000 + n % 50)
        for n, word in enumerate(words)
    ]
    copied = [token for token in tokens if chance.random() < COPIES]
    sent = [_message(n, token) for n, token in enumerate(tokens + copied)]
    sent += chance.sample(sent, 100)  # the very same message twice
    sent += [Sent(f"bad-{n}", None, b"bad %d" % n) for n in range(50)]
    chance.shuffle(sent)
    return sent


def _message(n: int, token: str) -> Sent:
    body = json.dumps({"version": 1, "registration_token": token}).encode()
    return Sent(f"m-{n}", token, body)


class Troupe:
    """Two workers, of which one at a time is killed and started again."""

    def __init__(self, stage: Stage, chance: random.Random) -> None:
        self._stage = stage
        self._chance = chance
        self.workers = [stage.start(**SETTINGS) for _ in range(WORKERS)]
        self.killed_at_work = 0

    async def suffer(self, kills: int, is_over: Callable[[], bool]) -> None:
        """Kill so many times, mostly a worker that is at work, at random moments."""
        for n in range(kills):
            place = self._chance.randrange(WORKERS)
            if n % 5:  # every fifth dies wherever it is, the start included
                await eventually(partial(self._works, place), "a worker consumes")
            await asyncio.sleep(self._chance.uniform(0.0, 1.0))  # the moment is the chance
            assert not is_over(), f"all was settled after {n} kills: too few tokens"
            self.killed_at_work += self._works(place)
            self.workers[place].kill()
            self.workers[place] = self._stage.start(**SETTINGS)

    def _works(self, place: int) -> bool:
        return bool(self.workers[place].logged("consuming"))


async def history(stage: Stage, web: Front) -> History:
    """Everything that can be found out once all workers are gone."""
    rows = stage.schema.rows
    found = History()
    found.events = {ident: [one.status for one in told] for ident, told in web.events.items()}
    found.outcomes = await rows("SELECT * FROM resolution.outcomes")
    found.agreements = await rows("SELECT * FROM resolution.agreements")
    found.malformed = await rows("SELECT * FROM resolution.malformed")
    found.letters = await rows(
        "SELECT message_id, reason, token_sha256 FROM resolution.dead_letter"
    )
    found.queues = await web.depths(*RETRYING)
    return found


@pytest.mark.crash
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("simulator", [("--latency", "20ms±10ms")], ids=["slow"], indirect=True)
@pytest.mark.parametrize("seed", seeds("CRASH"))
async def test_crashes_lose_and_double_nothing(stage: Stage, web: Front, seed: int) -> None:
    """After kills at random moments every token has its due outcome once, and all is told."""
    print(f"CRASH_SEED={seed}")  # noqa: T201 - for the reader of a report
    chance = random.Random(seed)
    sent = crowd(chance)
    began = time.monotonic()
    troupe = Troupe(stage, chance)

    await _endure(troupe, web, sent)
    settled = time.monotonic() - began
    for worker in troupe.workers:
        worker.send(signal.SIGTERM)
    codes = [await worker.exit_code() for worker in troupe.workers]
    found = await history(stage, web)

    print(f"{len(sent)} messages, {KILLS} kills ({troupe.killed_at_work} at work), {settled:.1f} s")  # noqa: T201 - for the reader of a report

    assert codes == [0] * WORKERS
    assert troupe.killed_at_work >= KILLS * 4 // 5
    assert reckon(sent, found) == []


async def _endure(troupe: Troupe, web: Front, sent: list[Sent]) -> None:
    ids = {one.message_id for one in sent}

    def is_over() -> bool:
        return ids <= web.events.keys()

    async with asyncio.TaskGroup() as group:
        group.create_task(_publish(web, sent))
        group.create_task(troupe.suffer(KILLS, is_over))

    await eventually(is_over, "every message has an event", SECONDS)

    async def is_empty() -> bool:
        return not any((await web.depths(*RETRYING)).values())

    await eventually(is_empty, "all queues are empty")


async def _publish(web: Front, sent: list[Sent]) -> None:
    """Publish into both lanes, many at once."""
    for start in range(0, len(sent), 200):
        batch = sent[start : start + 200]
        publishing = (
            web.publish(
                one.body,
                message_id=one.message_id,
                lane="backlog" if zlib.crc32(one.body) % 3 == 0 else "live",
            )
            for one in batch
        )
        await asyncio.gather(*publishing)


# --- the reckoning itself can fail ---

FEW = [
    _message(n, token)
    for n, token in enumerate(
        [
            "ok-1",
            "ok-1",
            "old-1",
            "same-123456789012-1",
            "same-123456789012-2",
            "invalid-1",
            "hang-1",
        ]
    )
] + [Sent("bad", None, b"bad")]


def flawless() -> History:
    """What is found of these few if all went well."""
    found = History()
    for one in FEW:
        found.events[one.message_id] = [one.due.status]
        if one.token is None:
            found.malformed.append({"message_id": one.message_id, "body_sha256": sha(one.body)})
            found.letters.append(letter(one, None))
            continue
        key = sha(one.token.encode())
        if any(row["token_sha256"] == key for row in found.outcomes):
            continue
        row = said(one.token)
        found.outcomes.append(
            {"token_sha256": key, "status": one.due.status, "error_code": one.due.error_code, **row}
        )
        if one.due.status == "resolved":
            found.agreements.append(row)
        else:
            found.letters.append(letter(one, key))
    found.queues = {"resolution.tokens": 0}
    return found


def letter(one: Sent, key: bytes | None) -> dict[str, Any]:
    """The dead letter of a message."""
    return {"message_id": one.message_id, "reason": one.due.status, "token_sha256": key}


def test_a_flawless_history_passes() -> None:
    """The reckoning has nothing against a history in which all went well."""
    assert reckon(FEW, flawless()) == []


FORGERIES: dict[str, Callable[[History], Any]] = {
    "lost token": lambda h: h.outcomes.pop(),
    "token settled twice": lambda h: h.outcomes.append(h.outcomes[0]),
    "stranger's token": lambda h: h.outcomes.append({**h.outcomes[0], "token_sha256": b"x"}),
    "wrong status": lambda h: h.outcomes[0].update(status="dead"),
    "wrong code": lambda h: h.outcomes[-1].update(error_code="ConnectionFault"),
    "another's customer": lambda h: h.outcomes[0].update(customer_aws_account_id="1"),
    "another's licence": lambda h: h.outcomes[0].update(license_arn=h.outcomes[2]["license_arn"]),
    "failed, yet with a customer": lambda h: h.outcomes[-1].update(customer_aws_account_id="1"),
    "lost agreement": lambda h: h.agreements.pop(),
    "agreement doubled": lambda h: h.agreements.append(h.agreements[0]),
    "agreement without licence doubled": lambda h: h.agreements.append(h.agreements[1]),
    "stranger's agreement": lambda h: h.agreements.append(said("ok-9")),
    "missing event": lambda h: h.events.pop("m-1"),
    "event of another status": lambda h: h.events["m-5"].append("dead"),
    "stranger's event": lambda h: h.events.update(stranger=["resolved"]),
    "lost malformed message": lambda h: h.malformed.clear(),
    "malformed message recorded twice": lambda h: h.malformed.append(h.malformed[0]),
    "lost letter": lambda h: h.letters.pop(),
    "letter doubled": lambda h: h.letters.append(h.letters[0]),
    "letter of a resolved token": lambda h: h.letters.append(letter(FEW[0], None)),
    "left in a queue": lambda h: h.queues.update({"resolution.tokens": 1}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_history_is_found_out(forgery: str) -> None:
    """The reckoning names what is wrong with each history in which something went wrong."""
    forged = flawless()

    FORGERIES[forgery](forged)

    assert reckon(FEW, forged) != []
