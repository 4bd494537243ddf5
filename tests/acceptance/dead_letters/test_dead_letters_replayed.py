"""Replays and what workers make of them: settled once, told once, one history."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from harness.failed import failure_of, message_of, parked_of, settle, sibling
from harness.reprocessing import (
    audited,
    dead_letters,
    failed,
    histories,
    started,
    states,
    told,
)
from harness.schema import connected
from harness.waiting import eventually
from tests.seeds import seeds
from worker.adapters.sealing import Sealer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.installation import Installation
    from harness.web_tier import WebTier

WHY = ("--reason", "keys mended")
LETTERS = int(os.environ.get("REPLAY_LETTERS", "600"))
CLAIMED = "state = 'replaying' AND published_at IS NULL"
MARKED = "replays > 0"
KILLS = int(os.environ.get("REPLAY_KILLS", "5"))


async def settles(stage: Installation, **due: int) -> None:
    """Wait until so many letters are in each state, and no others."""

    async def is_so() -> bool:
        return await states(stage) == due

    await eventually(is_so, f"letters are {due}", 90)


async def calls(stage: Installation) -> dict[str, int]:
    """The simulator's calls by result, those that there were."""
    stats = await stage.simulator.order("GET", "stats")
    return {result: count for result, count in stats["calls"].items() if count}


def sealer(stage: Installation) -> Sealer:
    """What workers seal with."""
    return Sealer(stage.keys["WORKER_DEAD_LETTERS__SEAL_KEY"])


@pytest.mark.long
async def test_what_fails_again_has_one_history(stage: Installation, web: WebTier) -> None:
    """A letter that dies again is the same letter, open again, with one occurrence more."""
    await failed(stage, ["invalid-1", "ok-1"])
    await stage.run()

    assert dead_letters(stage, "replay", "--all", *WHY).returncode == 0
    await settles(stage, open=1, resolved=1)

    (row,) = await stage.schema.rows("SELECT * FROM resolution.dead_letter WHERE state = 'open'")
    assert (row["message_id"], row["occurrences"], row["replays"]) == ("m.invalid.1", 2, 1)
    assert sorted(map(sorted, await histories(stage))) == [
        ["failed", "failed", "replayed"],
        ["failed", "replayed", "resolved"],
    ]
    assert (await web.event("m.invalid.1")).body["repeated"] is False
    assert await calls(stage) == {"ok": 1, "token": 1}


@pytest.mark.long
async def test_a_replay_calls_at_once_though_the_token_just_failed(
    stage: Installation, web: WebTier
) -> None:
    """What a worker has rejected a moment ago is called for, within the failures' memory too."""
    worker = await stage.run()
    ident = await web.submit("seller-simulator-1", lane="backlog")
    assert (await web.event(ident)).status == "resolved"
    ident = await web.submit("seller-other-1")
    assert (await web.event(ident)).status == "rejected"
    assert dead_letters(stage, "replay", "--all", *WHY).returncode == 0
    assert (await web.event(ident, nth=2)).body["repeated"] is False
    assert await calls(stage) == {"ok": 1, "token": 2}
    await settles(stage, open=1)
    assert worker.process.poll() is None


@pytest.mark.long
async def test_two_submissions_of_a_token_fail_as_two_letters(
    stage: Installation, web: WebTier
) -> None:
    """Replayed together they share a call, each is answered, and both letters are open again."""
    now = datetime.now(UTC) - timedelta(minutes=1)
    tokens = [f"invalid-{n}" for n in range(30)]
    first = [message_of(token, now) for token in tokens]
    second = [sibling(each, f"{each.message_id}.again") for each in first]
    made = [failure_of(each, sealer(stage), now) for each in first]
    others = [(None, failure_of(each, sealer(stage), now)[1]) for each in second]
    await settle(stage.schema.worker, made)
    await settle(stage.schema.worker, others)

    assert dead_letters(stage, "replay", "--all", *WHY).returncode == 0
    await stage.run()
    for each in (*first, *second):
        assert (await web.event(each.message_id or "")).status == "rejected"
    await settles(stage, open=60)
    assert await calls(stage) == {"token": 30}
    rows = await stage.schema.rows("SELECT DISTINCT occurrences FROM resolution.dead_letter")
    assert [row["occurrences"] for row in rows] == [2]


@pytest.mark.parametrize("word", ["ok", "invalid"])
@pytest.mark.long
async def test_a_second_copy_costs_no_second_call(
    stage: Installation, web: WebTier, word: str
) -> None:
    """Published twice because its mark was lost, a letter is called for and settled once."""
    await failed(stage, [f"{word}-{n}" for n in range(20)])
    assert dead_letters(stage, "replay", "--all", *WHY).returncode == 0
    await stage.schema.execute(
        "UPDATE resolution.dead_letter SET published_at = NULL WHERE state = 'replaying'"
    )
    assert dead_letters(stage, "replay", "--all", *WHY).returncode == 0
    assert await web.depth("resolution.backlog") == 40

    await stage.run()
    for n in range(20):
        first, second = await web.event(f"m.{word}.{n}"), await web.event(f"m.{word}.{n}", nth=2)
        assert first.status == second.status
    assert sum((await calls(stage)).values()) == 20
    due = {"ok": {"resolved": 20}, "invalid": {"open": 20}}[word]
    assert await states(stage) == due
    rows = await stage.schema.rows("SELECT DISTINCT occurrences FROM resolution.dead_letter")
    assert [row["occurrences"] for row in rows] == [1 if word == "ok" else 2]


async def test_a_parked_message_resolves(stage: Installation, web: WebTier) -> None:
    """What the broker had given up is answered under its own id, and its letter is closed."""
    now = datetime.now(UTC) - timedelta(minutes=1)
    parked = [parked_of(message_of(f"{word}-1", now), sealer(stage), now) for word in ("ok", "old")]
    await settle(stage.schema.worker, [(None, letter) for letter in parked])
    worker = await stage.run()
    ident = await web.submit("old-1")
    assert (await web.event(ident)).status == "resolved"

    assert dead_letters(stage, "replay", "--all", *WHY).returncode == 0

    assert (await web.event("m.ok.1")).status == "resolved"
    assert (await web.event("m.old.1")).body["repeated"] is True

    async def closed() -> bool:
        # One was resolved before it was known to be about that token: the next look finds out.
        dead_letters(stage, "replay", "--error", "Nothing", *WHY)
        return await states(stage) == {"resolved": 2}

    await eventually(closed, "both are closed")
    assert worker.process.poll() is None


# --- canaries, shares of failures ---


async def test_canaries_that_fail_keep_the_rest_at_home(stage: Installation, web: WebTier) -> None:
    """With one canary failing nothing else goes out, and it is told what each got."""
    await failed(stage, ["invalid-1", "ok-1", "ok-2"])
    await failed(stage, [f"ok-{n}" for n in range(3, 30)])
    await stage.run()

    done = dead_letters(stage, "replay", "--all", "--canary", "3", *WHY)

    assert done.returncode == 1
    assert "rejected InvalidTokenException" in done.stdout
    assert done.stdout.count(": resolved\n") == 2
    assert "stopped: not every canary resolved" in done.stderr
    assert "27 left to replay" in done.stderr
    assert await states(stage) == {"open": 28, "resolved": 2}
    assert len(web.events) == 3
    (end,) = await audited(stage, "dead-letters.replay.end")
    assert end["subject"]["state"] == "aborted"


@pytest.mark.long
async def test_canaries_without_an_outcome_keep_the_rest_at_home(stage: Installation) -> None:
    """Where nobody takes the canaries it stops in time, and they stay where they are."""
    await failed(stage, [f"ok-{n}" for n in range(10)])

    done = dead_letters(stage, "replay", "--all", "--canary", "2", "--canary-wait", "1s", *WHY)

    assert done.returncode == 1
    assert "2 canaries: no outcome yet" in done.stdout
    assert "had no outcome in 1 s" in done.stderr
    assert await states(stage) == {"replaying": 2, "open": 8}


@pytest.mark.long
async def test_it_stops_when_too_many_fail_again(stage: Installation) -> None:
    """With --abort-on-failures the rest stays open once the share is exceeded."""
    await failed(stage, [f"invalid-{n}" for n in range(300)])
    await stage.run()

    options = ("--rate", "40", "--abort-on-failures", "20")
    done = dead_letters(stage, "replay", "--all", *options, *WHY, "--json")

    assert done.returncode == 1
    account = told(done)
    assert account["state"] == "aborted"
    assert "too many failed again" in account["stopped"]
    assert 10 <= account["failed"] <= account["published"] < 290
    assert account["left"] == 300 - account["published"]


# --- killed again and again ---


@pytest.mark.crash
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", seeds("REPLAY"))
@pytest.mark.parametrize("simulator", [("--latency", "5ms")], ids=["slow"], indirect=True)
@pytest.mark.long
async def test_killed_again_and_again_each_letter_is_settled_once(
    stage: Installation, web: WebTier, seed: int
) -> None:
    """However often a replay is killed, started again it ends, and each token is called once."""
    print(f"REPLAY_SEED={seed}")  # noqa: T201 - for the reader of a report
    chance = random.Random(seed)
    await failed(stage, [f"ok-{n}" for n in range(LETTERS)])
    worker = await stage.run()
    # Slow enough that every one of the kills finds it at work, on a busy machine too.
    rate = str(LETTERS / KILLS / 3)
    replay = ("replay", "--all", "--rate", rate, *WHY)

    for n in range(KILLS):
        if n == KILLS // 2:  # from now on second copies go out before the first are settled
            worker.send(signal.SIGTERM)
            assert await worker.exit_code() == 0
        program = started(stage, *replay, "--actor", f"on-call-{n}")
        await eventually(partial(_has, stage, MARKED, n + 1), f"start {n} publishes")
        # Every other one dies anywhere, the rest between a publish and its mark.
        async with _unmarkable(stage) if n % 2 else nullcontext():
            if n % 2:
                await eventually(partial(_has, stage, CLAIMED, n + 1), f"start {n} goes on")
            await asyncio.sleep(chance.uniform(0.2, 0.6))
            assert program.process.poll() is None, "killed too late"
            program.kill()
    last = started(stage, "replay", "--all", *WHY, "--actor", "last", "--json")
    assert await last.exit_code(120) == 0, last.said
    await stage.run()

    await settles(stage, resolved=LETTERS)
    rows = await stage.schema.rows(
        "SELECT count(*), count(DISTINCT token_sha256), min(status), max(status) "
        "FROM resolution.outcomes"
    )
    assert tuple(rows[0]) == (LETTERS, LETTERS, "resolved", "resolved")

    async def is_empty() -> bool:
        return not any((await web.depths()).values())

    await eventually(is_empty, "all queues are empty")
    assert await calls(stage) == {"ok": LETTERS}
    assert len(web.events) == LETTERS
    # A replay that was published twice is answered twice, and is no repeat of itself.
    assert not any(event.body["repeated"] for events in web.events.values() for event in events)
    actors = [entry["actor"] for entry in await audited(stage, "dead-letters.replay")]
    assert actors == [*(f"on-call-{n}" for n in range(KILLS)), "last"]
    twice = sum(len(events) > 1 for events in web.events.values())
    assert twice > 0, "no kill fell between a publish and its mark"
    account = json.loads("".join(last.out))
    print(f"{LETTERS} letters, {KILLS} kills, {twice} published twice, {account['published']} last")  # noqa: T201 - as above


@asynccontextmanager
async def _unmarkable(stage: Installation) -> AsyncIterator[None]:
    """Letters can be claimed, but whoever would note what happened to one has to wait."""
    async with connected(stage.schema.superuser) as connection, connection.transaction():
        await connection.execute("LOCK TABLE resolution.letter_event IN SHARE MODE")
        yield


async def _has(stage: Installation, condition: str, replay: int) -> bool:
    """Whether a replay has letters of which this holds."""
    rows = await stage.schema.rows(
        f"SELECT FROM resolution.dead_letter WHERE replay_id = $1 AND {condition} LIMIT 1", replay
    )
    return bool(rows)
