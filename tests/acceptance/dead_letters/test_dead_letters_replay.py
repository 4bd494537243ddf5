"""`dead-letters replay`, looked at in the lanes it publishes into: no worker takes anything out."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from harness.failed import failure_of, message_of, parked_of, settle
from harness.reprocessing import (
    audited,
    dead_letters,
    failed,
    histories,
    started,
    states,
    told,
)
from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from worker.adapters.sealing import Sealer, generate
from worker.core.records import Status

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

    from harness.installation import Installation

WHY = ("--reason", "keys mended")
REPLAY = "x-resolution-replay"


async def taken(stage: Installation, lane: str = "backlog") -> list[AbstractIncomingMessage]:
    """Everything that is in a lane."""
    queue_name = {"backlog": "resolution.backlog", "live": "resolution.tokens"}[lane]
    found = []
    async with await aio_pika.connect(stage.broker.url, timeout=30) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(queue_name, ensure=False)
        while message := await queue.get(no_ack=True, fail=False):
            found.append(message)
    return found


async def waiting(stage: Installation, queue: str = "resolution.backlog") -> int:
    """How many messages are ready in a queue."""
    async with await aio_pika.connect(stage.broker.url, timeout=30) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        return int(declared.declaration_result.message_count or 0)


def tokens(count: int, word: str = "ok") -> list[str]:
    """So many tokens."""
    return [f"{word}-{n}" for n in range(count)]


# --- what goes out ---


async def test_a_replay_publishes_what_was_sent(stage: Installation) -> None:
    """The message goes into the backlog lane as it was, with its age, its asker and an instant."""
    await failed(stage, ["ok-1"], reply_to="resolution.reply.x")

    done = dead_letters(stage, "replay", "--all", *WHY)

    assert (done.returncode, done.stdout) == (0, "replay 1: 1 dead letter published\n")
    (message,) = await taken(stage)
    assert message.exchange == "resolution.internal"
    assert (message.message_id, message.correlation_id) == ("m.ok.1", "c-0")
    assert message.reply_to == "resolution.reply.x"
    assert json.loads(message.body)["registration_token"] == "ok-1"
    now = datetime.now(UTC).timestamp() * 1000
    headers: dict[str, Any] = dict(message.headers)
    assert headers["x-resolution-received-at"] == pytest.approx(now - 300_000, abs=60_000)
    assert headers[REPLAY] == pytest.approx(now, abs=60_000)
    assert headers["x-resolution-attempts"] == 0
    assert await states(stage) == {"replaying": 1}
    (row,) = await stage.schema.rows("SELECT * FROM resolution.replay")
    assert (row["state"], row["published"], row["chosen"]) == ("finished", 1, 1)


async def test_a_dry_run_says_what_would_happen_and_writes_nothing(stage: Installation) -> None:
    """Letters are told apart by what can be done about them, and all stays as it was."""
    await failed(stage, tokens(3))
    await failed(stage, tokens(2, "old"), age=timedelta(hours=5))
    await failed(stage, tokens(1, "expired"), status=Status.EXPIRED)
    await failed(stage, ["gone-1", "closed-1"])
    await stage.schema.execute(
        """
        UPDATE resolution.dead_letter SET sealed = NULL, shredded_at = now()
        WHERE message_id = 'm.gone.1';
        UPDATE resolution.dead_letter SET state = 'discarded' WHERE message_id = 'm.closed.1';
        """
    )

    done = dead_letters(stage, "replay", "--all", "--dry-run", "--json")
    words = dead_letters(stage, "replay", "--all", "--dry-run", COLUMNS="60")

    assert (done.returncode, done.stderr) == (0, "")
    preview = told(done)
    assert preview["would_replay"] == 3
    fates = {each["fate"]: each["letters"] for each in preview["left_out"]}
    assert fates == {"expired": 3, "shredded": 1}
    assert words.stdout.startswith("would replay 3 dead letters\n")
    assert words.stdout.count("the buyer must click through again") == 2
    assert await states(stage) == {"open": 7, "discarded": 1}
    assert await stage.schema.rows("SELECT FROM resolution.audit") == []
    assert await stage.schema.rows("SELECT FROM resolution.replay") == []
    assert await waiting(stage) == 0


async def test_what_is_past_saving_is_refused_with_the_remedy(stage: Installation) -> None:
    """Named letters that can't be saved end in 1, and the buyer must click through again."""
    await failed(stage, ["old-1"], age=timedelta(hours=5))
    (row,) = await stage.schema.rows("SELECT id FROM resolution.dead_letter")

    done = dead_letters(stage, "replay", str(row["id"]), *WHY)

    assert done.returncode == 1
    assert "left out 1: too late to save" in done.stderr
    assert "the buyer must click through again" in done.stderr
    assert await states(stage) == {"open": 1}
    assert await waiting(stage) == 0


@pytest.mark.long
async def test_only_what_was_chosen_goes_out(stage: Installation) -> None:
    """Ids and filters narrow, and --limit takes the oldest failures."""
    await failed(stage, tokens(3))
    await failed(stage, tokens(2, "dead"), status=Status.DEAD)
    (row,) = await stage.schema.rows(
        "SELECT id FROM resolution.dead_letter WHERE message_id = 'm.ok.1'"
    )

    by_filter = dead_letters(stage, "replay", "--letter-reason", "dead", *WHY)
    assert by_filter.returncode == 0
    assert sorted(m.message_id or "" for m in await taken(stage)) == ["m.dead.0", "m.dead.1"]
    by_id = dead_letters(stage, "replay", str(row["id"]), *WHY)
    assert by_id.returncode == 0
    assert [m.message_id for m in await taken(stage)] == ["m.ok.1"]
    limited = dead_letters(stage, "replay", "--all", "--limit", "1", *WHY)
    assert limited.returncode == 0
    assert [m.message_id for m in await taken(stage)] == ["m.ok.0"]


async def test_a_parked_message_is_replayed_as_itself(stage: Installation) -> None:
    """Its letter learns what it is about before it goes out, so that its outcome closes it."""
    now = datetime.now(UTC) - timedelta(minutes=2)
    sealer = Sealer(stage.keys["WORKER_DEAD_LETTERS__SEAL_KEY"])
    parked = message_of("ok-1", now)
    unreadable = message_of("bad token", now)
    letters = [(None, parked_of(each, sealer, now)) for each in (parked, unreadable)]
    await settle(stage.schema.worker, letters)

    done = dead_letters(stage, "replay", "--letter-reason", "parked", *WHY)

    assert done.returncode == 1
    assert "refused 1: TokenHasWhiteSpace" in done.stderr
    assert [m.message_id for m in await taken(stage)] == ["m.ok.1"]
    rows = await stage.schema.rows(
        "SELECT message_id, state, token_sha256 IS NOT NULL AS known FROM resolution.dead_letter "
        "ORDER BY known DESC"
    )
    assert tuple(rows[0]) == ("m.ok.1", "replaying", True)
    assert (rows[1]["state"], rows[1]["known"]) == ("open", False)


@pytest.mark.long
async def test_a_rate_spreads_a_replay(stage: Installation) -> None:
    """With --rate it takes its time, and the first is not held back."""
    await failed(stage, tokens(20))
    began = datetime.now(UTC)

    assert dead_letters(stage, "replay", "--all", "--rate", "10", *WHY).returncode == 0

    rows = await stage.schema.rows(
        "SELECT max(published_at) - min(published_at) AS took FROM resolution.dead_letter"
    )
    assert timedelta(seconds=1) < rows[0]["took"] < datetime.now(UTC) - began


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        (("--all",), {}, 2, "--reason"),
        (WHY, {}, 2, "choose dead letters"),
        (("--all", "--error", "X", *WHY), {}, 2, "--all can't be combined"),
        (("--all", "--canary-wait", "soon", *WHY), {}, 2, "--canary-wait"),
        (("--all", "--canary", "21", *WHY), {}, 2, "canary"),
        (("4711", *WHY), {}, 1, "there is no dead letter 4711"),
        (("--error", "Nothing", *WHY), {}, 0, "No dead letter matches"),
        (("--all", *WHY), {"WORKER_DEAD_LETTERS__OPEN_KEYS": ""}, 78, "OPEN_KEYS"),
        (("--all", *WHY), {"WORKER_DEAD_LETTERS__OPEN_KEYS": "nonsense"}, 78, "OPEN_KEYS"),
        (("--all", *WHY), {"WORKER_DEAD_LETTERS__OPEN_KEYS": generate()[1]}, 78, "sealed to a key"),
        (("--all", *WHY), {"WORKER_AMQP__URL": "amqp://a:b@127.0.0.1:1/"}, 69, "nothing was"),
        (
            ("--all", *WHY),
            {"WORKER_POSTGRES__DSN": "postgresql://a@127.0.0.1:1/x"},
            69,
            "nothing was",
        ),
    ],
)
@pytest.mark.sampled(6)
async def test_bad_input_is_named(
    stage: Installation, arguments: tuple[str, ...], settings: dict[str, str], code: int, words: str
) -> None:
    """Each mistake has its exit code and words that help; nothing is published or claimed."""
    await failed(stage, ["ok-1"])

    done = dead_letters(stage, "replay", *arguments, **settings)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert words in done.stderr
    assert await states(stage) == {"open": 1}
    assert await waiting(stage) == 0


# --- together, killed, left alone ---


@pytest.mark.long
async def test_two_replays_at_once_share_the_letters_out(stage: Installation) -> None:
    """Each letter goes out once though two people replay the same at the same time."""
    await failed(stage, tokens(400))

    both = [
        started(stage, "replay", "--all", "--rate", "150", *WHY, "--actor", name, "--json")
        for name in ("ann", "ben")
    ]
    codes = [await each.exit_code() for each in both]

    messages = Counter(message.message_id for message in await taken(stage))
    assert set(messages.values()) == {1}
    assert len(messages) == 400
    published = [json.loads("".join(each.out))["published"] for each in both]
    assert sum(published) == 400
    assert min(published) > 20, "both had a share"
    assert set(codes) <= {0, 1}
    assert {entry["actor"] for entry in await audited(stage, "dead-letters.replay")} == {
        "ann",
        "ben",
    }


async def test_killed_it_goes_on_where_it_was(stage: Installation) -> None:
    """Started again after SIGKILL it publishes the rest; a second copy carries the same instant."""
    await failed(stage, tokens(300))
    first = started(stage, "replay", "--all", "--rate", "100", *WHY)

    async def under_way() -> bool:
        return await waiting(stage) >= 60

    await eventually(under_way, "60 letters are out")
    first.kill()
    await stage.schema.execute(  # as if it had been killed after a publish and before its mark
        "UPDATE resolution.dead_letter SET published_at = NULL WHERE state = 'replaying'"
    )
    done = dead_letters(stage, "replay", "--all", *WHY)

    assert done.returncode == 0, done.stderr
    instants: dict[str, set[Any]] = {}
    copies = await taken(stage)
    for message in copies:
        instants.setdefault(message.message_id or "", set()).add(message.headers[REPLAY])
    assert len(instants) == 300
    assert len(copies) > 300
    assert all(len(each) == 1 for each in instants.values())
    assert await states(stage) == {"replaying": 300}
    states_ = await stage.schema.rows("SELECT state FROM resolution.replay ORDER BY id")
    assert [row["state"] for row in states_] == ["running", "finished"]


@pytest.mark.long
async def test_a_signal_ends_it_in_order(stage: Installation) -> None:
    """SIGTERM stops after the batch under way: the rest is open, and it is said how to go on."""
    await failed(stage, tokens(300))
    replaying = started(stage, "replay", "--all", "--rate", "50", *WHY)

    async def under_way() -> bool:
        return await waiting(stage) >= 20

    await eventually(under_way, "20 letters are out")
    replaying.send(signal.SIGTERM)

    assert await replaying.exit_code() == 1
    out = await waiting(stage)
    assert await states(stage) == {"replaying": out, "open": 300 - out}
    assert f"{300 - out} left to replay" in replaying.said
    assert "repeat the command to go on" in replaying.said
    (end,) = await audited(stage, "dead-letters.replay.end")
    assert (end["subject"]["state"], end["subject"]["published"]) == ("interrupted", out)


async def test_a_broker_that_is_lost_half_way_leaves_the_rest(stage: Installation) -> None:
    """Without the broker it stops with what is left; the same command then does the rest."""
    await failed(stage, tokens(200))
    async with proxy_to(stage.worker_url) as proxy:
        replaying = started(
            *(stage, "replay", "--all", "--rate", "60", "--patience", "1s", *WHY),
            WORKER_AMQP__URL=proxy.url,
        )

        async def under_way() -> bool:
            return await waiting(stage) >= 20

        await eventually(under_way, "20 letters are out")
        proxy.stall()
        await proxy.reset()
        code = await replaying.exit_code()
        proxy.resume()

    assert code == 1
    assert "stopped: the broker took no more" in replaying.said
    assert "left to replay" in replaying.said
    assert (await states(stage)).get("open", 0) > 0
    again = dead_letters(stage, "replay", "--all", *WHY)
    assert again.returncode == 0, again.stderr
    assert len({message.message_id for message in await taken(stage)}) == 200
    assert await states(stage) == {"replaying": 200}


@pytest.mark.long
async def test_a_database_that_is_lost_half_way_leaves_the_rest(stage: Installation) -> None:
    """Without the database it stops; the same command then does the rest, and nothing is lost."""
    await failed(stage, tokens(200))
    async with proxy_to(stage.schema.operator) as proxy:
        replaying = started(
            *(stage, "replay", "--all", "--rate", "60", "--patience", "1s", *WHY),
            WORKER_POSTGRES__DSN=proxy.url,
        )

        async def under_way() -> bool:
            return await waiting(stage) >= 20

        await eventually(under_way, "20 letters are out")
        proxy.stall()
        await proxy.reset()
        code = await replaying.exit_code()
        proxy.resume()

    assert code == 1
    assert "stopped: the database could not be reached" in replaying.said
    again = dead_letters(stage, "replay", "--all", *WHY)
    assert again.returncode == 0, again.stderr
    assert len({message.message_id for message in await taken(stage)}) == 200
    assert await states(stage) == {"replaying": 200}


@pytest.mark.long
async def test_a_full_backlog_ends_it_with_the_claims_given_back(stage: Installation) -> None:
    """Refused by a full queue it stops at once, says so, and the letters are open again."""
    await failed(stage, tokens(120))
    limit = {"pattern": "^resolution.backlog$", "definition": {"max-length": 30}}
    body = limit | {"apply-to": "queues"}
    stage.broker.management.call("PUT", "policies", stage.broker.vhost, "small", body=body)

    done = dead_letters(stage, "replay", "--all", "--rate", "40", *WHY, "--json")

    assert done.returncode == 1
    account = told(done)
    assert "the queue is full" in account["stopped"]
    out = await waiting(stage)
    assert account["published"] == out
    assert account["left"] == 120 - out > 0
    assert await states(stage) == {"replaying": out, "open": 120 - out}
    assert ["failed", "released"] in await histories(stage)


@pytest.mark.long
async def test_letters_that_were_altered_are_refused_and_the_rest_goes(stage: Installation) -> None:
    """A payload that its key does not open is named and left open."""
    await failed(stage, tokens(3))
    await stage.schema.execute(
        "UPDATE resolution.dead_letter SET sealed = 'x' WHERE message_id = 'm.ok.1'"
    )

    done = dead_letters(stage, "replay", "--all", *WHY)

    assert done.returncode == 1
    assert "refused 1: its payload was altered" in done.stderr
    assert await states(stage) == {"replaying": 2, "open": 1}


@pytest.mark.long
async def test_some_sealed_to_a_lost_key_are_left_out(stage: Installation) -> None:
    """Letters of a key that is not here are named, with the remedy, and the rest goes."""
    await failed(stage, tokens(2))
    now = datetime.now(UTC)
    other = Sealer(generate()[0])
    await settle(stage.schema.worker, [failure_of(message_of("ok-9", now), other, now)])

    done = dead_letters(stage, "replay", "--all", *WHY)

    assert done.returncode == 1
    assert "left out 1: sealed to a key that is not here" in done.stderr
    assert len(await taken(stage)) == 2


async def test_no_token_is_ever_shown(stage: Installation) -> None:
    """Neither what it prints nor what it writes down holds a token."""
    secret = "ok-very-secret-token-of-a-buyer"
    await failed(stage, ["ok-1"])
    now = datetime.now(UTC) - timedelta(minutes=1)
    sealer = Sealer(stage.keys["WORKER_DEAD_LETTERS__SEAL_KEY"])
    message = message_of(secret, now, message_id="m-1")
    await settle(stage.schema.worker, [failure_of(message, sealer, now)])

    shown = [
        dead_letters(stage, "replay", "--all", *WHY, *more)
        for more in (["--dry-run"], ["--dry-run", "--json"], ["--json"])
    ]
    rows = await stage.schema.rows(
        "SELECT to_json(e)::text FROM resolution.letter_event e UNION ALL "
        "SELECT to_json(a)::text FROM resolution.audit a UNION ALL "
        "SELECT to_json(r)::text FROM resolution.replay r"
    )
    said = "".join(done.stdout + done.stderr for done in shown) + "".join(row[0] for row in rows)
    assert shown[-1].returncode == 0
    assert secret not in said


@pytest.mark.long
async def test_it_starts_slowly_with_nobody_to_ask(stage: Installation) -> None:
    """Without a terminal it never asks, and tells how far it is by lines."""
    await failed(stage, tokens(60))
    replaying = started(stage, "replay", "--all", "--rate", "8", *WHY)
    assert await replaying.exit_code() == 0
    assert any(line.startswith("replaying ") for line in replaying.err)
    assert "?" not in replaying.said
    await asyncio.sleep(0)
