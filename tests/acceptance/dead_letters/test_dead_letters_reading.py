"""`dead-letters groups`, `list` and `show`, as on-call runs them."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import termios
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from harness.failed import fail, id_of
from harness.installation import bare_environment
from harness.many_letters import keep_many
from harness.programs import COMMAND
from harness.schema import connected, prepare
from worker.adapters.sealing import generate
from worker.core.support_code import support_code

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.schema import Schema
    from harness.servers import Database

OPEN_KEYS = "WORKER_DEAD_LETTERS__OPEN_KEYS"
TOKEN = "seller-other-a-secret-0123456789"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where somebody on call sits: a database, and the keys if they have them."""

    schema: Schema
    keys: Mapping[str, str]
    home: Path

    def environment(self, **settings: str) -> dict[str, str]:
        """What is in the environment."""
        return (
            bare_environment(self.home)
            | {"WORKER_POSTGRES__DSN": self.schema.operator, "USER": "olga"}
            | settings
        )

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `dead-letters …` with pipes to its end."""
        return subprocess.run(
            [COMMAND, "dead-letters", *arguments],
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def told(self, *arguments: str, **settings: str) -> Any:
        """The JSON that a command prints, which must succeed."""
        done = self.run(*arguments, "--json", **settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def on_terminal(self, *arguments: str, columns: int = 60, **settings: str) -> list[str]:
        """The lines on a terminal so wide, standard error among them."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, columns))
        environment = self.environment(TERM="xterm", **settings)
        process = subprocess.Popen(
            [COMMAND, "dead-letters", *arguments],
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        written = b""
        try:
            while data := os.read(ours, 65_536):
                written += data
        except OSError:
            pass  # the other side is closed
        os.close(ours)
        assert process.wait(timeout=60) == 0
        return written.decode().splitlines()


@pytest.fixture
def desk(database: Database, keys: Mapping[str, str], tmp_path: Path) -> Desk:
    """A desk at an empty database."""
    with ThreadPoolExecutor(1) as executor:
        schema = executor.submit(asyncio.run, prepare(database)).result()
    return Desk(schema, keys, tmp_path)


async def kept(desk: Desk, tokens: tuple[str, ...] = (TOKEN,)) -> None:
    """Let tokens have been rejected."""
    await fail(desk.schema.worker, desk.keys["WORKER_DEAD_LETTERS__SEAL_KEY"], tokens)


async def incident(desk: Desk, letters: int = 400) -> None:
    """Let many tokens have failed in many ways."""
    async with connected(desk.schema.superuser) as connection:
        await keep_many(connection, letters)


# --- groups ---


async def test_groups_say_what_can_be_saved_and_how(desk: Desk) -> None:
    """A group has its id, its words, how many can be saved for how long, and a remedy."""
    await kept(desk, tuple(f"seller-other-{n}" for n in range(41)))
    done = desk.run("groups")
    group = desk.told("groups")["groups"][0]
    first, message, count, redeemable, remedy = done.stdout.splitlines()
    assert first == f"{group['group']}  rejected  InvalidTokenException"
    assert message == "  the registration token is not valid for this seller"
    assert count.startswith("  41 dead letters at ")
    assert redeemable.startswith("  41 redeemable, first expires in ")
    assert remedy.startswith("  remedy: wrong seller account or region? ")
    assert done.stderr == "1 group, 41 dead letters, 41 redeemable\n"
    chosen = desk.told("list", "--group", group["group"])
    assert len(chosen["letters"]) == 41


async def test_groups_that_are_left_off_are_told(desk: Desk) -> None:
    """More groups than asked for are counted, and how to see them is said."""
    await incident(desk)
    done = desk.run("groups", "--limit", "3")
    groups = desk.told("groups", "--limit", "3")
    total = groups["total"]
    assert len(groups["groups"]) == 3
    assert f"{total['groups'] - 3} more with --limit {total['groups']}" in done.stderr
    assert total["letters"] == 396
    counts = [group["redeemable"] for group in groups["groups"]]
    assert counts == sorted(counts, reverse=True)


# --- list ---


async def test_pages_go_on_where_the_last_one_ended(desk: Desk) -> None:
    """Following what each page says yields every letter once, newest first."""
    await incident(desk)
    found: list[Any] = []
    more: tuple[str, ...] = ()
    while True:
        page = desk.told("list", "--limit", "150", *more)
        found += page["letters"]
        if page["next"] is None:
            break
        more = ("--after", page["next"])
    assert len({letter["id"] for letter in found}) == len(found) == 396
    times = [letter["failed_at"] for letter in found]
    assert times == sorted(times, reverse=True)
    done = desk.run("list", "--limit", "150")
    assert done.stderr.startswith("There are more: repeat with --after ")


async def test_filters_compose(desk: Desk) -> None:
    """Each filter narrows what the others leave; one given twice takes either value."""
    await incident(desk)
    both = ("--reason", "dead", "--reason", "parked")
    either = {letter["reason"] for letter in desk.told("list", "--limit", "900", *both)["letters"]}
    assert either == {"dead", "parked"}
    narrow = (*both, "--error", "Timeout", "--redeemable", "--since", "3h", "--until", "1h")
    letters = desk.told("list", *narrow)["letters"]
    assert letters
    assert {letter["error_code"] for letter in letters} == {"Timeout"}
    (one,) = desk.told("list", *narrow, "--message-id", letters[-1]["message_id"])["letters"]
    assert one == letters[-1]
    closed = desk.told("list", "--state", "discarded", "--state", "archived")["letters"]
    assert {letter["state"] for letter in closed} == {"discarded", "archived"}


@pytest.mark.long
def test_an_empty_selection_is_no_failure(desk: Desk) -> None:
    """Where no letter matches, that is said with the filters in force, and the code is 0."""
    for command in ("groups", "list"):
        done = desk.run(command, "--reason", "parked", "--redeemable")
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "No dead letter matches (state open, reason parked, redeemable).\n"
    assert desk.told("list") == {"letters": [], "next": None}


async def test_a_pipe_gets_everything(desk: Desk) -> None:
    """Into a pipe nothing is cut, coloured or wrapped: a line a letter under one heading."""
    await incident(desk)
    done = desk.run("list", "--limit", "396")
    heading, *lines = done.stdout.splitlines()
    assert heading.split()[:4] == ["id", "state", "failed", "reason"]
    assert len(lines) == 396
    assert {len(line.split()) for line in lines} == {8}
    assert "\x1b" not in done.stdout
    assert "…" not in done.stdout


@pytest.mark.long
async def test_a_narrow_terminal(desk: Desk) -> None:
    """On sixty columns no line is longer than that, and every letter and group has its own."""
    await incident(desk)
    for shown in (
        desk.on_terminal("groups"),
        desk.on_terminal("list", "--limit", "20"),
        desk.on_terminal("list", "--limit", "20", "--state", "open", "--state", "archived"),
        desk.on_terminal("show", "17"),
    ):
        for line in shown:
            plain = line.replace("\x1b[1m", "").replace("\x1b[0m", "")
            assert len(plain) <= 60, plain
            assert "\x1b" not in plain
    wide = desk.on_terminal("list", "--limit", "20", columns=150)
    assert sum("-" in line.split()[-1] for line in wide) >= 20
    assert "\x1b" not in "".join(desk.on_terminal("groups", NO_COLOR="1"))


# --- show ---


async def test_show_tells_everything_but_the_secret(desk: Desk) -> None:
    """One letter is told with its history, metadata and fingerprint; the token nowhere."""
    await kept(desk)
    (listed,) = desk.told("list")["letters"]
    letter = desk.told("show", str(listed["id"]))
    assert {name: letter[name] for name in listed} == listed
    assert letter["metadata"] == {"session": "s"}
    assert letter["fingerprint"] == letter["token_sha256"][:16]
    assert letter["support_code"] == support_code(bytes.fromhex(letter["token_sha256"]))
    (event,) = letter["history"]
    assert (event["kind"], event["error_code"]) == ("failed", "InvalidTokenException")
    text = desk.run("show", "--message-id", id_of(TOKEN)).stdout
    words = (f"dead letter {listed['id']}  open", '{"session": "s"}')
    for part in (*words, letter["fingerprint"], letter["support_code"]):
        assert part in text.replace('{"session":"s"}', '{"session": "s"}')
    assert "failed: InvalidTokenException: the registration token" in text
    assert TOKEN not in text + json.dumps(letter)


async def test_the_payload_takes_a_reason_and_leaves_a_trace(desk: Desk) -> None:
    """With key and reason the message is shown as it was sent, and the audit says who saw it."""
    await kept(desk)
    (listed,) = desk.told("list")["letters"]
    asked = ("show", str(listed["id"]), "--reveal", "--reason", "buyer on the phone")
    key = {OPEN_KEYS: desk.keys[OPEN_KEYS]}
    payload = desk.told(*asked, **key)["payload"]
    assert json.loads(payload["body"])["registration_token"] == TOKEN
    assert payload["properties"]["message_id"] == id_of(TOKEN)
    done = desk.run(*asked, "--actor", "ann", **key)
    assert json.loads(done.stdout.splitlines()[-1])["registration_token"] == TOKEN
    rows = await desk.schema.rows("SELECT actor, reason, session_user_name FROM resolution.audit")
    assert [tuple(row) for row in rows] == [
        (actor, "buyer on the phone", "resolution_operator") for actor in ("olga", "ann")
    ]
    history = desk.told("show", str(listed["id"]))["history"]
    assert [(event["kind"], event["actor"]) for event in history] == [
        ("failed", None),
        ("revealed", "olga"),
        ("revealed", "ann"),
    ]


@pytest.mark.parametrize(
    ("arguments", "key", "code", "words"),
    [
        (["--reveal"], "own", 2, "--reveal needs a reason"),
        (["--reveal", "--reason", " "], "own", 2, "--reveal needs a reason"),
        (["--reason", "x"], "own", 2, "--reason is only for --reveal"),
        (["--reveal", "--reason", "x"], "none", 78, "set WORKER_DEAD_LETTERS__OPEN_KEYS"),
        (["--reveal", "--reason", "x"], "other", 1, "no key here opens the payload"),
        (["--reveal", "--reason", "x"], "broken", 78, "WORKER_DEAD_LETTERS__OPEN_KEYS"),
    ],
)
@pytest.mark.sampled(6)
async def test_a_payload_that_is_not_shown(
    desk: Desk, arguments: list[str], key: str, code: int, words: str
) -> None:
    """Without reason or fitting key nothing is shown and nothing audited; the remedy is."""
    await kept(desk)
    (listed,) = desk.told("list")["letters"]
    keys = {
        "own": {OPEN_KEYS: desk.keys[OPEN_KEYS]},
        "none": {},
        "other": {OPEN_KEYS: generate()[1]},
        "broken": {OPEN_KEYS: "rubbish"},
    }
    done = desk.run("show", str(listed["id"]), *arguments, **keys[key])
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert await desk.schema.rows("SELECT FROM resolution.audit") == []


@pytest.mark.parametrize("table", ["audit", "letter_event"])
@pytest.mark.sampled(2)
async def test_no_trace_no_payload(desk: Desk, table: str) -> None:
    """Where audit or history can't be written, neither is, and nothing is shown."""
    await kept(desk)
    (listed,) = desk.told("list")["letters"]
    await desk.schema.execute(f"ALTER TABLE resolution.{table} RENAME TO {table}_away")
    key = {OPEN_KEYS: desk.keys[OPEN_KEYS]}
    done = desk.run("show", str(listed["id"]), "--reveal", "--reason", "x", **key)
    await desk.schema.execute(f"ALTER TABLE resolution.{table}_away RENAME TO {table}")
    assert (done.returncode, done.stdout) == (69, "")
    assert await desk.schema.rows("SELECT FROM resolution.audit") == []
    assert [each["kind"] for each in desk.told("show", "1")["history"]] == ["failed"]


@pytest.mark.long
async def test_a_shredded_payload(desk: Desk) -> None:
    """What was shredded can't be shown, which is said; the rest can."""
    await kept(desk)
    await desk.schema.execute(
        "UPDATE resolution.dead_letter SET sealed = NULL, shredded_at = '2026-11-22T03:28Z'"
    )
    (listed,) = desk.told("list")["letters"]
    asked = ("show", str(listed["id"]))
    key = {OPEN_KEYS: desk.keys[OPEN_KEYS]}
    done = desk.run(*asked, "--reveal", "--reason", "x", **key)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the payload was shredded" in done.stderr
    assert desk.told(*asked)["payload_kept"] is False
    assert "  payload      shredded" in desk.run(*asked).stdout


@pytest.mark.long
async def test_a_letter_that_is_not_there(desk: Desk) -> None:
    """An unknown letter ends with 1 and the remedy; so do several of one message id, named."""
    await kept(desk)
    for asked in (["7777"], ["--message-id", "nobody"]):
        done = desk.run("show", *asked)
        assert (done.returncode, done.stdout) == (1, "")
        assert "`dead-letters list` shows" in done.stderr
    await desk.schema.execute("UPDATE resolution.dead_letter SET message_id = 'twin'")
    await kept(desk)
    await desk.schema.execute("UPDATE resolution.dead_letter SET message_id = 'twin'")
    both = desk.told("list", "--message-id", "twin")["letters"]
    done = desk.run("show", "--message-id", "twin")
    assert done.returncode == 1
    assert f"show one of: {both[0]['id']}, {both[1]['id']}" in done.stderr


async def test_outside_text_gives_a_terminal_no_orders(desk: Desk) -> None:
    """What a publisher wrote is shown with its control characters spelled out."""
    await kept(desk)
    await desk.schema.execute(
        "UPDATE resolution.dead_letter SET message_id = E'x\\x1b[2J\\ny',"
        " metadata = E'{\"a\": \"\\x1b[31m\"}', correlation_id = E'\\x07'"
    )
    for told in (desk.run("list").stdout, desk.run("show", "1").stdout):
        assert "x\\x1b[2J\\ny" in told
        assert not {"\x1b", "\x07"} & set(told)


# --- a database that is not ready ---


@pytest.mark.long
def test_a_database_that_is_away(desk: Desk) -> None:
    """Without a database every command ends with 69 and says what to do."""
    away = "postgresql://olga@127.0.0.1:1/nowhere"
    for command in (["groups"], ["list"], ["show", "1"]):
        done = desk.run(*command, WORKER_POSTGRES__DSN=away)
        assert (done.returncode, done.stdout) == (69, "")
        assert "no server listens there; start PostgreSQL" in done.stderr


async def test_a_schema_that_is_too_old(desk: Desk) -> None:
    """Before the migration the remedy is to migrate."""
    await desk.schema.execute("DELETE FROM resolution.schema_migration WHERE version > 2")
    done = desk.run("groups")
    assert done.returncode == 69
    assert "run `resolution-worker migrate`" in done.stderr
    await desk.schema.execute("DROP SCHEMA resolution CASCADE")
    assert "run `resolution-worker migrate`" in desk.run("list").stderr


@pytest.mark.long
async def test_a_role_that_may_not(desk: Desk) -> None:
    """The worker's own role reads no dead letters, and the remedy names the role that does."""
    await kept(desk)
    for command in (("list",), ("groups",), ("discard", "--all")):
        why = ("--reason", "r") if "--all" in command else ()
        done = desk.run(*command, *why, WORKER_POSTGRES__DSN=desk.schema.worker)
        assert (done.returncode, done.stdout) == (69, "")
        assert "connect as resolution_operator" in done.stderr
