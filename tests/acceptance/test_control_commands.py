"""`pause`, `resume` and `rate`, as an operator runs them, without and with a fleet at work."""

from __future__ import annotations

import json
import re
import subprocess
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from harness.installation import bare_environment
from harness.programs import COMMAND
from harness.schema import addresses, prepare, run_script
from harness.waiting import eventually
from tests.integration.fleets import HUNGRY, REFUSED, SOUND, Crew, crew, leases, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness.installation import Installation
    from harness.servers import Database
    from harness.web_tier import WebTier


class Operator:
    """Somebody who runs commands.

    Attributes:
        environment: All that the commands see of it.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def runs(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; it must show no traceback."""
        done = subprocess.run(
            [COMMAND, *arguments],
            env=self.environment | settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def says(self, *arguments: str, **settings: str) -> str:
        """What a command that succeeds says to standard error; it prints no data."""
        done = self.runs(*arguments, **settings)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        return done.stderr

    def reads(self, *arguments: str, **settings: str) -> Any:
        """The JSON that a command prints."""
        done = self.runs(*arguments, "--json", **settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
async def fleet(database: Database) -> AsyncIterator[Crew]:
    """A fleet without replicas yet, on a database as an operator prepares it."""
    async with crew(await prepare(database)) as made:
        yield made


@pytest.fixture
def operator(fleet: Crew, tmp_path: Path) -> Operator:
    """An operator who is logged in as carol."""
    settings = {"WORKER_POSTGRES__DSN": fleet.schema.worker, "USER": "carol"}
    return Operator(bare_environment(tmp_path) | settings)


async def test_pause_and_resume(fleet: Crew, operator: Operator) -> None:
    """Pausing is told with who, when and why, to every replica too; resuming says what it ends."""
    (one,) = fleet.replicas(1)
    told = operator.says("pause", "--reason", "  incident\n 12 ", "--actor", "alice")
    assert told.startswith("paused by alice, 20")
    assert told.endswith("UTC: incident 12; it takes effect on all replicas within two seconds\n")
    pause = (await one.lease(HUNGRY, SOUND)).pause
    assert pause is not None
    assert (pause.actor, pause.reason) == ("alice", "incident 12")
    again = operator.says("pause", "--reason", "maintenance")
    assert again.startswith("already paused by alice, 20")
    assert (await one.lease(HUNGRY, SOUND)).pause == pause
    over = operator.says("resume", "--reason", "mended")
    assert over.startswith("resumed; calls were paused by alice, 20")
    assert (await one.lease(HUNGRY, SOUND)).pause is None
    assert operator.says("resume", "--reason", "mended") == "calls were not paused\n"
    rows = await fleet.schema.rows(
        "SELECT actor, action, reason, session_user_name FROM resolution.audit ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [
        ("alice", "pause", "incident 12", "resolution_worker"),
        ("carol", "pause", "maintenance", "resolution_worker"),
        ("carol", "resume", "mended", "resolution_worker"),
        ("carol", "resume", "mended", "resolution_worker"),
    ]


async def test_a_pause_for_a_time(fleet: Crew, operator: Operator) -> None:
    """The commands say until when it lasts, and that another pause does not change that."""
    told = operator.says("pause", "--for", "1h30m", "--reason", "incident 12")
    until = r", until 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC: incident 12"
    assert re.search(rf"^paused by carol, 20.* UTC{until}; it takes effect on all", told)
    again = operator.says("pause", "--for", "2m", "--reason", "maintenance")
    assert re.search(rf"^already paused by carol, 20.* UTC{until}; that pause stays as it", again)
    await fleet.stay()
    assert re.search(rf"paused +by carol, 20.* UTC{until}\n", operator.runs("rate").stdout)
    pause = operator.reads("rate")["pause"]
    lasts = datetime.fromisoformat(pause["until"]) - datetime.fromisoformat(pause["since"])
    assert lasts == timedelta(minutes=90)
    (check,) = (
        each
        for each in json.loads(operator.runs("check", "--json").stdout)
        if each["check"] == "fleet"
    )
    assert re.search(rf"^calls are paused by carol{until}$", check["notes"][0])
    over = operator.says("resume", "--reason", "mended")
    assert over.startswith("resumed; calls were paused by carol, 20")


@pytest.mark.long
async def test_the_ceiling_by_command(fleet: Crew, operator: Operator) -> None:
    """A ceiling is set, replaced, lifted and given back; each says what stood before."""
    one = fleet.replica(ceiling=30)
    wanted = (
        ("12.5", 12.5, "the ceiling is 12.5/s; it takes effect"),
        ("none", None, "there is no ceiling; before it was 12.5/s, set by carol, 20"),
        (
            "default",
            30.0,
            "the ceiling is that of the replicas' settings; before it was none, set by",
        ),
    )
    for given, ceiling, said in wanted:
        assert operator.says("rate", given, "--reason", "r").startswith(said)
        assert (await one.lease(HUNGRY, SOUND)).ceiling == ceiling


@pytest.mark.long
async def test_the_rate_is_shown(fleet: Crew, operator: Operator) -> None:
    """The rate, its ceiling and where that comes from, and each replica's share are shown."""
    nothing = operator.reads("rate", WORKER_RATE__CEILING="7")
    assert nothing["rate"]["shared"] is None
    assert (nothing["rate"]["ceiling"], nothing["rate"]["source"]) == (7.0, "settings")
    assert (nothing["replicas"], nothing["shares"]) == (0, [])
    await settled(fleet.replicas(2, ceiling=8))
    await fleet.stay()
    found = operator.reads("rate")
    assert (found["rate"]["shared"], found["rate"]["source"]) == (8.0, "replicas")
    assert sum(each["share"] for each in found["shares"]) == pytest.approx(8, rel=0.01)
    operator.says("rate", "6", "--reason", "quiet night")
    found = operator.reads("rate")["rate"]
    assert (found["ceiling"], found["source"], found["configured"]) == (6.0, "command", 8.0)
    assert (found["actor"], found["reason"]) == ("carol", "quiet night")
    text = operator.runs("rate").stdout
    assert text.startswith("rate      8/s shared  (ceiling 6/s, set by carol, 20")
    assert "replicas  2 live: 4/s, 4/s\n" in text
    assert text.count("\nreplica-") == 2


@pytest.mark.long
async def test_searching_again(fleet: Crew, operator: Operator) -> None:
    """The search starts anew from the rate as it is; where there is none, that is said."""
    assert "no replica" in operator.says("rate", "--search-again", "--reason", "r")
    await leases(fleet.replicas(1))
    said = operator.says("rate", "--search-again", "--reason", "AWS raised the quota")
    assert said.startswith("searching again, from 40/s")
    ((state,),) = await fleet.schema.rows("SELECT state::text FROM resolution.quota")
    assert "law" not in json.loads(state)  # what is measured begins anew


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pause",), "--reason"),
        (("resume", "--reason", "  "), "is empty"),
        (("pause", "--reason", "a\x1b[2Jb"), "control characters"),
        (("pause", "--reason", "x" * 501), "501 characters"),
        (("pause", "--reason", "r", "--for", "soon"), "is not a duration"),
        (("pause", "--reason", "r", "--for", "999ms"), "1s to 7d is allowed"),
        (("pause", "--reason", "r", "--for", "8d"), "1s to 7d is allowed"),
        (("rate", "12"), "--reason"),
        (("rate", "fast", "--reason", "r"), "none, default"),
        (("rate", "0", "--reason", "r"), "0.01"),
        (("rate", "--reason", "r", "--", "-5"), "0.01"),
        (("rate", "nan", "--reason", "r"), "0.01"),
        (("rate", "5", "--search-again", "--reason", "r"), "two commands"),
        (("rate", "--search-again"), "--reason"),
    ],
)
@pytest.mark.sampled(5)
async def test_wrong_usage(
    fleet: Crew, operator: Operator, arguments: tuple[str, ...], words: str
) -> None:
    """What can't be meant is refused with 2 and in words, and changes nothing."""
    done = operator.runs(*arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert await fleet.schema.rows("SELECT FROM resolution.quota") == []
    assert await fleet.schema.rows("SELECT FROM resolution.audit") == []


@pytest.mark.long
def test_bad_settings(operator: Operator) -> None:
    """Settings that can't be accepted end each command with 78."""
    for arguments in (("pause", "--reason", "r"), ("resume", "--reason", "r"), ("rate",)):
        done = operator.runs(*arguments, WORKER_RATE__CEILING="fast")
        assert done.returncode == 78
        assert "WORKER_RATE__CEILING" in done.stderr


@pytest.mark.long
def test_an_absent_database(operator: Operator) -> None:
    """Without the database each command ends with 69 and names it."""
    away = {"WORKER_POSTGRES__DSN": "postgresql://u:hidden-one@127.0.0.1:1/d"}
    for arguments in (("pause", "--reason", "r"), ("resume", "--reason", "r"), ("rate",)):
        done = operator.runs(*arguments, **away)
        assert done.returncode == 69
        assert "no server listens there" in done.stderr
        assert "hidden-one" not in done.stderr


async def test_an_empty_database(database: Database, tmp_path: Path) -> None:
    """Without the schema the remedy is named, and nothing is left behind."""
    schema = addresses(database)
    await run_script(schema.superuser, "roles.sql")
    settings = {"WORKER_POSTGRES__DSN": schema.worker}
    done = Operator(bare_environment(tmp_path) | settings).runs("pause", "--reason", "r")
    assert done.returncode == 69
    assert "resolution-worker migrate" in done.stderr or "grants.sql" in done.stderr


async def test_a_missing_grant(fleet: Crew, operator: Operator) -> None:
    """Without the right to change it the remedy is named."""
    await fleet.schema.execute(
        "REVOKE EXECUTE ON FUNCTION resolution.pause(text, text, text, double precision)"
        " FROM resolution_worker"
    )
    done = operator.runs("pause", "--reason", "r")
    assert done.returncode == 69
    assert "deploy/postgres/grants.sql" in done.stderr


def test_whose_name_is_written(operator: Operator) -> None:
    """Whoever uses sudo is named by their own name, not by root's."""
    said = operator.says("pause", "--reason", "r", SUDO_USER="dave", USER="root")
    assert said.startswith("paused by dave,")


async def test_a_refusal_is_told_with_what_to_do(fleet: Crew, operator: Operator) -> None:
    """`check` tells of a pause and a refusal without failing for them."""
    one = fleet.replica()
    await one.lease(HUNGRY, REFUSED)
    await fleet.stay()
    operator.says("pause", "--reason", "incident 12")
    done = operator.runs("check", "--json")
    (found,) = (each for each in json.loads(done.stdout) if each["check"] == "fleet")
    assert found["state"] == "ok"
    assert found["notes"][0] == "calls are paused by carol: incident 12"
    assert "aws-marketplace:ResolveCustomer" in found["notes"][1]


# --- with real workers ---


async def test_workers_stop_and_go_on_within_two_seconds(stage: Installation, web: WebTier) -> None:
    """A pause reaches all running workers within two seconds, and one that starts under it too."""
    operator = Operator(stage.environment(USER="carol"))
    workers = [await stage.run() for _ in range(2)]
    assert (await web.settled("ok-control-1")).status == "resolved"
    operator.says("pause", "--reason", "incident 12")
    paused_at = time.monotonic()
    await eventually(
        lambda: all(worker.logged("calls_paused") for worker in workers), "calls are paused"
    )
    assert time.monotonic() - paused_at < 2
    workers.append(await stage.run())
    calls = await stage.simulator.calls()
    waiting = [await web.submit(f"ok-control-{number}") for number in (2, 3, 4)]
    await eventually(lambda: time.monotonic() - paused_at > 3, "some time has passed")
    assert await stage.simulator.calls() == calls
    for worker in workers:
        assert (await worker.get("/readyz"))[0] == 200
    operator.says("resume", "--reason", "mended")
    resumed_at = time.monotonic()
    for each in waiting:
        assert (await web.event(each)).status == "resolved"
    assert time.monotonic() - resumed_at < 4
