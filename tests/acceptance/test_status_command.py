"""`status`, as an operator runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from harness.programs import COMMAND, Worker
from harness.tcp_proxy import proxy_to
from harness.waiting import eventually
from tests.acceptance.check_setups import SECRETS, execute, sound_setup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.servers import BrokerServer, PostgresServer
    from tests.acceptance.check_setups import Setup

_OUTCOMES = """
INSERT INTO resolution.ledger (
    seller, token_sha256, status, message_id, product_code, customer_identifier, attempts,
    received_at, settled_at
)
SELECT 'default', sha256(('{0}' || n)::bytea), '{0}', n::text, 'p', 'c', 1, now(),
    now() - '{1}'::interval
FROM generate_series(1, {2}) AS n
"""
_LETTERS = """
INSERT INTO resolution.dead_letter (
    state, seller, reason, error_code, error_message, body_sha256, message_id, lane, attempts,
    received_at, first_failed_at, failed_at, redeemable_until, sealed, seal_key_id, body_bytes
)
SELECT '{0}', 'default', 'dead', 'Timeout', '', sha256(('{0}' || n)::bytea), n::text, 'token', 1,
    now(), now(), now(), now() + n * '1 hour'::interval, '', 'k', 1
FROM generate_series(0, {1}) AS n
"""

_PAUSED = """
INSERT INTO resolution.quota (
    seller, rate, ceiling, ceiling_actor, ceiling_reason, ceiling_at, pause_actor, pause_reason,
    paused_at
) VALUES (
    'default', 12.5, 20, 'bob', 'quiet night', '2026-11-22 07:00Z', 'alice', 'incident 12',
    '2026-11-22 08:00Z'
)
"""
_PLANNED = """
UPDATE resolution.quota SET state = json_build_object('capacity', json_build_object(
    'replicas', 6, 'nearest', 6, 'since', at, 'updated', at, 'seen', at,
    'seconds', 30, 'calls', 1143, 'busy_seconds', 114, 'live', 640
)) FROM (SELECT extract(EPOCH FROM clock_timestamp() - interval '121 min') AS at) AS told
"""
_REFUSED = """
INSERT INTO resolution.replica (
    seller, id, need, granted, identity, version, seen_at, expires_at, refused_code,
    refused_message, refused_at, probes, accepted_at, skew_seconds, suspected
) VALUES (
    'default', 'sick', 0, 4, 'id', '1', now(), now() + '1 min', 'ExpiredToken',
    E'the security token\\n\\x1b[2J has expired', now(), 3, NULL, -7.4, 0
), (
    'default', 'sound', 0, 8.5, 'id', '1', now(), now() + '1 min', NULL, NULL, NULL, 0, now(), 0, 5
)
"""


@pytest.fixture
def sound(
    broker_server: BrokerServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Setup]:
    """A set-up that is well."""
    home = tmp_path_factory.mktemp("status")
    with sound_setup(broker_server, postgres_server, home) as setup, ExitStack() as breaking:
        setup.breaking = breaking
        yield setup


def run(setup: Setup, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `status` to its end."""
    return subprocess.run(
        [COMMAND, "status", *arguments],
        env=setup.environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def found(setup: Setup, code: int = 0, **settings: str) -> dict[str, Any]:
    """What `status --json` has found."""
    done = run(setup, "--json", **settings)
    assert done.returncode == code, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def publish(setup: Setup, token: str) -> None:
    """Publish one token."""
    done = subprocess.run(
        [COMMAND, "publish"],
        env=setup.environment(WORKER_AMQP__URL=setup.broker.url),
        input=f"{token}\n",
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_an_idle_fleet(sound: Setup) -> None:
    """Without worker and messages all is nought, and what only a worker knows is unknown."""
    done = run(sound, WORKER_RATE__CEILING="40")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0].split() == ["queue", "ready", "unacked", "consumers"]
    assert lines[1].split() == ["resolution.tokens", "0", "0", "0"]
    assert [line.split()[0] for line in lines[2:8]] == [
        "resolution.backlog",
        "resolution.crowd",
        "resolution.retry.5s",
        "resolution.retry.30s",
        "resolution.retry.2m",
        "resolution.parked",
    ]
    rest = "\n".join(lines[8:])
    assert "replicas      0 live  (0 consume resolution.tokens)\n" in rest
    assert "not yet known  (ceiling 40/s, by the settings here, as no replica is live)" in rest
    assert "paused        no\n" in rest
    assert "breaker       closed\n" in rest
    assert "oldest        none in hand  (since" in rest
    assert done.stderr == ""


@pytest.mark.long
async def test_dead_letters_and_outcomes(sound: Setup) -> None:
    """Open letters and what was settled lately are counted; closed and older ones are not."""
    before = found(sound)
    for status, ago, count in (("resolved", "1 min", 3), ("rejected", "1 min", 2)):
        await execute(sound.database.dsn, _OUTCOMES.format(status, ago, count))
    await execute(sound.database.dsn, _OUTCOMES.format("dead", "10 min", 4))
    for state, count in (("open", 5), ("discarded", 7)):
        await execute(sound.database.dsn, _LETTERS.format(state, count))
    after = found(sound)
    assert before["dead_letters"]["open"]["dead"] == 0
    assert after["outcomes"] == {"rejected": 2, "resolved": 3}
    assert after["dead_letters"]["open"]["dead"] == 6
    assert after["dead_letters"]["redeemable"] == 5
    expiry = after["dead_letters"]["first_expiry"]
    shown = run(sound).stdout
    assert f"5 redeemable, the first until {expiry[:10]} {expiry[11:19]} UTC" in shown
    assert "resolved 3" in shown


@pytest.mark.long
async def test_a_running_worker(sound: Setup) -> None:
    """A worker counts as a replica; the one on this machine tells of its breaker."""
    first, second = Worker(sound.environment()), Worker(sound.environment())
    try:
        for worker in (first, second):
            await worker.ready()
        port = str(await first.port())
        assert found(sound, WORKER_HTTP__PORT=port)["replicas"] == 2
        assert len(found(sound, WORKER_HTTP__PORT=port)["shares"]) == 2
        assert capacity(sound)["live"] == 2
        assert found(sound, WORKER_HTTP__PORT=port)["worker"]["breaker"] == "closed"
        await sound.simulator.order(
            "PUT", "fault", {"code": "AccessDeniedException", "message": "no"}
        )
        for number in range(4):  # so that either worker gets one
            publish(sound, f"ok-status-{number}")

        def is_open() -> bool:
            told = found(sound, WORKER_HTTP__PORT=port)
            own = told["worker"]
            return bool(
                told["breaker"]["open"]
                and own["breaker"] == "open"
                and max(own["oldest_unsettled_seconds"].values())
            )

        await eventually(is_open, "the breaker is told to be open")
        shown = run(sound, WORKER_HTTP__PORT=port).stdout
        assert "breaker       open\n" in shown
        assert "AccessDeniedException: no\n" in shown
        assert "-> allow the IAM action `aws-marketplace:ResolveCustomer`" in shown
    finally:
        await sound.simulator.order("DELETE", "fault")
        for worker in (first, second):
            worker.kill()


def capacity(setup: Setup) -> dict[str, Any]:
    """What `status --capacity` says."""
    read: dict[str, Any] = json.loads(run(setup, "--capacity", "--json").stdout)
    return read


@pytest.mark.long
@pytest.mark.parametrize(
    ("settings", "token", "binds", "words"),
    [
        ({"WORKER_RATE__CEILING": "20"}, "ok", "ceiling", "more replicas do not"),
        ({"WORKER_POOL__CONCURRENCY": "1"}, "slow-500", "concurrency", "set it to "),
        ({}, "", "nothing", "1 replica can make more calls than are asked for"),
    ],
)
async def test_what_keeps_replicas_from_more_calls(
    sound: Setup, settings: dict[str, str], token: str, binds: str, words: str
) -> None:
    """It is named with what would help, and each replica wants the same number of them."""
    settings = {"WORKER_RATE__INITIAL": "1000", **settings}
    workers = [Worker(sound.environment(**settings)) for _ in range(2)]
    try:
        for worker in workers:
            await worker.ready()
        for number in range(3 if token else 0):
            publish(sound, "\n".join(f"{token}-{binds}-{number}-{n}" for n in range(100)))
        await eventually(lambda: capacity(sound)["binds"] == binds, f"{binds} binds")
        assert words in run(sound, "--capacity").stdout
        await eventually(lambda: capacity(sound)["wanted"], "a number is wanted")
        assert capacity(sound)["live"] == 2

        async def is_told_by_all() -> bool:
            wanted = {await worker.metric("resolution_wanted_replicas") for worker in workers}
            return wanted == {float(capacity(sound)["wanted"])}

        await eventually(is_told_by_all, "all replicas tell this number")
    finally:
        for worker in workers:
            worker.kill()


@pytest.mark.long
async def test_a_replica_without_the_broker_says_nothing_of_queues(sound: Setup) -> None:
    """What waited is told as of when it was last known; it is not taken for nothing."""
    publish(sound, "\n".join(f"slow-9000-blind-{number}" for number in range(200)))
    async with proxy_to(sound.broker.url) as broker:
        worker = Worker(
            sound.environment(WORKER_AMQP__URL=broker.url, WORKER_POOL__CONCURRENCY="1")
        )
        try:
            await worker.ready()

            def waiting() -> int:
                return int((capacity(sound)["waiting"] or {"live": 0})["live"])

            await eventually(lambda: waiting() > 100, "buyers wait")
            await broker.shut()
            await eventually(lambda: capacity(sound)["queues_seconds"] > 10, "nobody sees them")
            told = capacity(sound)
            assert told["reported_seconds"] < 10
            assert told["waiting"]["live"] > 100
            shown = run(sound, "--capacity").stdout
            assert " ago, when a replica last reached the broker\n" in shown
        finally:
            worker.kill()


@pytest.mark.long
async def test_status_and_rate_count_the_same_replicas(sound: Setup) -> None:
    """One that is frozen renews no share and is not live, though the broker keeps its consumer."""
    workers = [Worker(sound.environment()) for _ in range(2)]

    def counted() -> tuple[int, int, int]:
        done = subprocess.run(
            [COMMAND, "rate", "--json"],
            env=sound.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        told = json.loads(run(sound, "--json").stdout)
        return told["replicas"], json.loads(done.stdout)["replicas"], told["consumers"]

    try:
        for worker in workers:
            await worker.ready()
        await eventually(lambda: counted() == (2, 2, 2), "both are live, and consume")
        workers[0].process.send_signal(signal.SIGSTOP)
        await eventually(lambda: counted() == (1, 1, 2), "one is live, and two consume")
        shown = run(sound).stdout
        assert "replicas      1 live: " in shown
        assert "(2 consume resolution.tokens)" in shown
    finally:
        for worker in workers:
            worker.kill()


@pytest.mark.long
async def test_what_all_replicas_share(sound: Setup) -> None:
    """A pause, a ceiling by command, and why AWS refuses, are told with who said so and why."""
    for statement in (_PAUSED, _REFUSED):
        await execute(sound.database.dsn, statement)
    told = found(sound, 1)  # none of them consumes
    assert (told["pause"]["actor"], told["pause"]["reason"]) == ("alice", "incident 12")
    assert (told["rate"]["shared"], told["rate"]["ceiling"]) == (12.5, 20)
    assert (told["rate"]["source"], told["rate"]["actor"]) == ("command", "bob")
    (stopped,) = told["breaker"]["stopped"]
    assert (stopped["code"], stopped["probes"], stopped["replicas"]) == ("ExpiredToken", 3, 1)
    shown = run(sound).stdout
    assert "12.5/s shared  (ceiling 20/s, set by bob, 2026-11-22" in shown
    assert "paused        by alice, 2026-11-22 08:00:00 UTC: incident 12\n" in shown
    assert "breaker       open for 1 of 2 replicas, which take no messages\n" in shown
    assert "1 replica (sick) stopped since " in shown
    assert "ExpiredToken: the security token  [2J has expired\n" in shown
    assert "sick: its clock is -7 s off the database's; set it by NTP\n" in shown
    assert "sound: handles 5 messages separately, because a process died" in shown
    assert "-> renew the credentials" in shown


@pytest.mark.long
def test_an_older_schema(sound: Setup) -> None:
    """Where the tables of what replicas share are not there yet, that is told, and the rest too."""
    tables = "resolution.quota, resolution.replica, resolution.breaker"
    older = sound.database_after(f"DROP TABLE {tables} CASCADE")
    done = run(sound, WORKER_POSTGRES__DSN=older)
    assert done.returncode == 69
    assert done.stderr.startswith("fleet is away: database at 127.0.0.1:")
    assert "the schema lacks a table" in done.stderr
    assert "run `resolution-worker migrate`" in done.stderr
    assert "rate          unknown" in done.stdout
    assert "dead letters  none" in done.stdout


@pytest.mark.long
def test_a_schema_that_is_behind(sound: Setup) -> None:
    """A schema older than this program is told, with the remedy, even if all can be shown."""
    older = sound.database_after("DELETE FROM resolution.schema_migration WHERE version > 4")
    done = run(sound, WORKER_POSTGRES__DSN=older)
    assert done.returncode == 69
    assert done.stderr.startswith("schema is behind: the database is at version 4")
    assert "run `resolution-worker migrate`" in done.stderr
    assert "dead letters  none" in done.stdout


@pytest.mark.long
def test_an_absent_broker(sound: Setup) -> None:
    """Without the broker the rest is shown, the broker is named, and the exit code is 69."""
    port = sound.closed_port()
    url = f"amqp://u:hidden-one@127.0.0.1:{port}/"
    done = run(sound, WORKER_AMQP__URL=url)
    assert done.returncode == 69
    assert done.stderr.startswith(f"broker is away: broker at 127.0.0.1:{port}: connection refused")
    assert "queues        unknown" in done.stdout
    assert "dead letters  " in done.stdout
    assert "hidden-one" not in done.stdout + done.stderr


@pytest.mark.long
def test_an_absent_database(sound: Setup) -> None:
    """Without the database the rest is shown, the database is named, and the exit code is 69."""
    port = sound.silent_port()
    address = f"postgresql://u:{SECRETS['database']}@127.0.0.1:{port}/d"
    began = time.monotonic()
    done = run(sound, WORKER_POSTGRES__DSN=address)
    assert time.monotonic() - began < 20
    assert done.returncode == 69
    away = f"database is away: database at 127.0.0.1:{port}: the server did not answer in time"
    assert done.stderr.startswith(away)
    assert "resolution.tokens" in done.stdout
    assert "outcomes      unknown" in done.stdout
    assert SECRETS["database"] not in done.stdout + done.stderr


@pytest.mark.long
def test_a_missing_queue(sound: Setup) -> None:
    """A queue that is not there is named as such, and the exit code is 1."""
    done = run(sound, WORKER_RETRY__DELAYS="9s")
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("resolution.retry.9s"))
    assert "unknown: " in line
    assert "no queue" in line
    assert "run `resolution-worker topology declare`" in done.stderr


@pytest.mark.long
async def test_who_has_not_the_workers_settings_is_shown_their_queues(sound: Setup) -> None:
    """On-call, who has set no delays, sees the retry queues that workers have noted alone."""
    noted = "INSERT INTO resolution.broker_queue (name) VALUES ('resolution.retry.7s')"
    forgotten = "DELETE FROM resolution.broker_queue"
    await execute(sound.database.dsn, f"{forgotten}; {noted}")
    done = run(sound, "--json")
    await execute(sound.database.dsn, forgotten)
    queues = [each["queue"] for each in json.loads(done.stdout)["queues"]]
    assert [name for name in queues if ".retry." in name] == ["resolution.retry.7s"]


@pytest.mark.long
def test_bad_settings(sound: Setup) -> None:
    """Settings that can't be accepted end the command with 78."""
    done = run(sound, WORKER_RETRY__DELAYS="soon")
    assert done.returncode == 78
    assert "WORKER_RETRY__DELAYS" in done.stderr


@pytest.mark.long
def test_watching(sound: Setup) -> None:
    """With `--watch` it looks again and again until it is interrupted, and then ends in order."""
    with subprocess.Popen(
        [COMMAND, "status", "--json", "--watch", "0.5"],
        env=sound.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()
    assert looks[0]["at"] < looks[1]["at"]


@pytest.mark.long
async def test_a_fleet_that_has_ended_wants_no_number(sound: Setup) -> None:
    """What its replicas told hours ago is not shown as if it were so now."""
    for statement in (_PAUSED, _PLANNED):
        await execute(sound.database.dsn, statement)
    told = capacity(sound)
    assert (told["wanted"], told["demand"], told["waiting"]) == (None, None, None)
    assert told["reported_seconds"] == pytest.approx(7260, abs=30)
    shown = run(sound, "--capacity").stdout
    assert "replicas  0 live; how many are wanted is not known\n" in shown
    assert "binds     unknown: no replica has reported for 2 h 1 min\n" in shown
