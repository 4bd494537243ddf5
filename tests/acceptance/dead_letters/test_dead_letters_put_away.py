"""`dead-letters discard` and `reseal`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from harness.failed import failure_of, message_of, settle
from harness.reprocessing import (
    audited,
    dead_letters,
    failed,
    histories,
    started,
    states,
    told,
)
from harness.waiting import eventually
from worker.adapters.sealing import Opener, Sealer, generate
from worker.core.records import Status
from worker.core.token.incoming import read_envelope

if TYPE_CHECKING:
    from harness.installation import Installation

WHY = ("--reason", "test orders", "--actor", "ann")
OPEN_KEYS = "WORKER_DEAD_LETTERS__OPEN_KEYS"
SEAL_KEY = "WORKER_DEAD_LETTERS__SEAL_KEY"


# --- discard ---


async def test_discarded_letters_are_put_away_with_a_reason(stage: Installation) -> None:
    """Only what was chosen is discarded; who did it and why stands in history and audit."""
    await failed(stage, [f"ok-{n}" for n in range(3)])
    await failed(stage, [f"dead-{n}" for n in range(2)], status=Status.DEAD)

    looked = dead_letters(stage, "discard", "--letter-reason", "dead", "--dry-run")
    assert (looked.returncode, looked.stdout) == (0, "would discard 2 dead letters\n")
    assert await states(stage) == {"open": 5}
    done = dead_letters(stage, "discard", "--letter-reason", "dead", *WHY)

    assert (done.returncode, done.stdout, done.stderr) == (0, "2 dead letters discarded\n", "")
    assert await states(stage) == {"open": 3, "discarded": 2}
    assert sorted(await histories(stage)) == [["failed"]] * 3 + [["failed", "discarded"]] * 2
    (entry,) = await audited(stage, "dead-letters.discard")
    assert (entry["actor"], entry["reason"]) == ("ann", "test orders")
    assert entry["subject"]["letters"] == 2
    (end,) = await audited(stage, "dead-letters.discard.end")
    assert end["subject"]["discarded"] == 2
    kept = await stage.schema.rows(
        "SELECT FROM resolution.dead_letter WHERE state = 'discarded' AND sealed IS NOT NULL"
    )
    assert len(kept) == 2


@pytest.mark.long
async def test_more_than_a_batch_is_discarded(stage: Installation) -> None:
    """A filter that matches thousands is carried out whole."""
    await failed(stage, [f"ok-{n}" for n in range(2_300)])

    done = dead_letters(stage, "discard", "--all", *WHY, "--json")

    assert told(done) == {"open": 2300, "discarded": 2300, "stopped": None}
    assert await states(stage) == {"discarded": 2300}


@pytest.mark.long
async def test_what_is_being_replayed_is_not_discarded(stage: Installation) -> None:
    """Letters in the hands of a replay stay there; a named one that stays is a failure."""
    await failed(stage, ["ok-1"])
    assert dead_letters(stage, "replay", "--all", *WHY).returncode == 0
    (row,) = await stage.schema.rows("SELECT id FROM resolution.dead_letter")

    assert dead_letters(stage, "discard", "--all", *WHY).returncode == 0
    named = dead_letters(stage, "discard", str(row["id"]), *WHY)

    assert (named.returncode, named.stdout) == (1, "0 dead letters discarded\n")
    assert "No open dead letter matches" in named.stderr
    assert await states(stage) == {"replaying": 1}


@pytest.mark.long
async def test_discarded_letters_are_not_replayed(stage: Installation) -> None:
    """A filter passes over them, and a named one is left out with the reason."""
    await failed(stage, ["ok-1"])
    assert dead_letters(stage, "discard", "--all", *WHY).returncode == 0
    (row,) = await stage.schema.rows("SELECT id FROM resolution.dead_letter")

    by_filter = dead_letters(stage, "replay", "--all", *WHY)
    named = dead_letters(stage, "replay", str(row["id"]), *WHY)

    assert by_filter.returncode == 0
    assert "No dead letter matches" in by_filter.stderr
    assert named.returncode == 1
    assert "left out 1: closed" in named.stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        (("--all",), {}, 2, "--reason"),
        (WHY, {}, 2, "choose dead letters"),
        (("1234", *WHY), {}, 1, "there is no dead letter 1234"),
        (("--error", "Nothing", *WHY), {}, 0, "No open dead letter matches"),
        (
            ("--all", *WHY),
            {"WORKER_POSTGRES__DSN": "postgresql://a@127.0.0.1:1/x"},
            69,
            "nothing was discarded",
        ),
    ],
)
@pytest.mark.sampled(5)
async def test_a_discard_gone_wrong_is_named(
    stage: Installation, arguments: tuple[str, ...], settings: dict[str, str], code: int, words: str
) -> None:
    """Each mistake has its exit code and words that help, and nothing is discarded."""
    await failed(stage, ["ok-1"])

    done = dead_letters(stage, "discard", *arguments, **settings)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert words in done.stderr
    assert await states(stage) == {"open": 1}


# --- reseal ---


def pair(stage: Installation) -> tuple[dict[str, str], str]:
    """The environment in the middle of a rotation, and the new private key."""
    public, private = generate()
    return {SEAL_KEY: public, OPEN_KEYS: f"{private},{stage.keys[OPEN_KEYS]}"}, private


async def test_a_rotation_moves_all_payloads_to_the_new_pair(stage: Installation) -> None:
    """Afterwards the new key alone opens everything, and it is said that the old one may go."""
    await failed(stage, [f"ok-{n}" for n in range(450)])
    rotating, private = pair(stage)
    old = Opener([stage.keys[OPEN_KEYS]]).key_ids[0]

    done = dead_letters(stage, "reseal", *WHY, **rotating)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("450 payloads sealed again, to ")
    assert f"nothing is sealed to {old} any more" in done.stderr
    rows = await stage.schema.rows("SELECT sealed, message_id FROM resolution.dead_letter")
    opener = Opener([private])
    for row in rows:
        message = read_envelope(opener.open(row["sealed"]))
        assert message is not None
        assert message.message_id == row["message_id"]
    assert await histories(stage) == [["failed", "resealed"]] * 450
    assert len(await audited(stage, "dead-letters.reseal")) == 1
    (end,) = await audited(stage, "dead-letters.reseal.end")
    assert end["subject"]["resealed"] == 450
    again = dead_letters(stage, "reseal", *WHY, "--json", **rotating)
    assert (told(again)["resealed"], told(again)["can_be_dropped"]) == (0, [old])
    only_new = {SEAL_KEY: rotating[SEAL_KEY], OPEN_KEYS: private}
    replayed = dead_letters(stage, "replay", "--all", *WHY, **only_new)
    assert (replayed.returncode, replayed.stderr) == (0, "")


@pytest.mark.long
async def test_a_rotation_that_is_killed_is_finished_by_the_next(stage: Installation) -> None:
    """Stopped anywhere, each payload is sealed to one of the pairs; repeated it ends."""
    await failed(stage, [f"ok-{n}" for n in range(3_000)])
    rotating, private = pair(stage)
    key = Opener([private]).key_ids[0]
    first = started(stage, "reseal", *WHY, **rotating)

    async def under_way() -> int:
        rows = await stage.schema.rows(
            "SELECT count(*) FROM resolution.dead_letter WHERE seal_key_id = $1", key
        )
        return int(rows[0][0])

    await eventually(under_way, "some are sealed anew")
    first.kill()
    moved = await under_way()
    done = dead_letters(stage, "reseal", *WHY, "--json", **rotating)

    assert done.returncode == 0
    assert told(done)["resealed"] + moved >= 3_000
    assert await under_way() == 3_000


@pytest.mark.long
async def test_payloads_that_no_key_opens_are_named(stage: Installation) -> None:
    """They are counted by key and left as they are, and the rest is moved."""
    await failed(stage, ["ok-1", "ok-2"])
    now = datetime.now(UTC)
    stranger = Sealer(generate()[0])
    await settle(stage.schema.worker, [failure_of(message_of("ok-9", now), stranger, now)])
    rotating, _ = pair(stage)

    done = dead_letters(stage, "reseal", *WHY, **rotating)

    assert done.returncode == 1
    assert done.stdout.startswith("2 payloads sealed again")
    assert f"1 sealed to {stranger.key_id} can't be opened" in done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({OPEN_KEYS: ""}, "no opening key"),
        ({OPEN_KEYS: "nonsense"}, "OPEN_KEYS"),
        ({SEAL_KEY: ""}, "no key to seal to"),
        ({SEAL_KEY: generate()[0]}, "has no private key for"),
    ],
)
@pytest.mark.sampled(4)
async def test_a_rotation_without_its_keys_is_refused(
    stage: Installation, settings: dict[str, str], words: str
) -> None:
    """A key that is missing, bad or of another pair ends in 78, and nothing is changed."""
    await failed(stage, ["ok-1"])
    before = await stage.schema.rows("SELECT sealed FROM resolution.dead_letter")

    done = dead_letters(stage, "reseal", *WHY, **settings)

    assert done.returncode == 78
    assert words in done.stderr
    assert await stage.schema.rows("SELECT sealed FROM resolution.dead_letter") == before


@pytest.mark.long
async def test_a_dry_run_of_a_rotation_says_what_is_sealed_to_what(stage: Installation) -> None:
    """It changes nothing and needs no reason."""
    await failed(stage, ["ok-1"])
    rotating, _ = pair(stage)

    done = dead_letters(stage, "reseal", "--dry-run", "--json", **rotating)

    assert done.returncode == 0
    (use,) = json.loads(done.stdout)["sealed_to"]
    assert use["letters"] == 1
    assert await audited(stage, "dead-letters.reseal") == []
