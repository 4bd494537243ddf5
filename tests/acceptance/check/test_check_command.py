"""`check` on set-ups that are well: what it says, and that it leaves no trace."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import aio_pika
import pytest

from harness.programs import Worker
from harness.servers import shipped
from tests.acceptance.check_setups import ACCOUNT, SECRETS, dsn, sound_setup
from worker.adapters.rabbitmq import rights
from worker.adapters.sealing import generate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.servers import BrokerServer, PostgresServer
    from tests.acceptance.check_setups import Setup

QUEUES = (
    "resolution.tokens",
    "resolution.backlog",
    "resolution.crowd",
    "resolution.parked",
    "resolution.retry.5s",
    "resolution.retry.30s",
    "resolution.retry.2m",
)


@pytest.fixture(scope="module")
def sound(
    broker_server: BrokerServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Setup]:
    """A set-up that is well."""
    home = tmp_path_factory.mktemp("check")
    with sound_setup(broker_server, postgres_server, home) as setup, ExitStack() as breaking:
        setup.breaking = breaking
        yield setup


def test_all_is_well(sound: Setup) -> None:
    """A worker with the deployed rights and nothing more passes every check, one line each."""
    done = sound.run()
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert done.stderr == "all is well\n"
    assert [line.split()[0] for line in lines].count("ok") == len(lines) - 2 == 17
    stand_in = "because a stand-in is called, and AWS_ENDPOINT_URL_STS names no STS"
    assert f"skipped  aws account      {stand_in}" in lines
    assert "FAIL" not in done.stdout
    for secret in SECRETS.values():
        assert secret not in done.stdout


def test_a_failure_is_followed_by_its_remedy(sound: Setup) -> None:
    """A failed check has its mark, its detail, and on the next line what to do."""
    done = sound.run(AWS_SECRET_ACCESS_KEY="", AWS_ACCESS_KEY_ID="")
    lines = done.stdout.splitlines()
    at = lines.index("FAIL     aws credentials  NoCredentialsError: no AWS credentials are found")
    assert lines[at + 1].startswith("         -> give the process a role")
    assert "skipped  aws call         because aws credentials failed" in lines
    assert done.stderr == "1 failed, 3 skipped\n"
    assert done.returncode == 1


def test_every_fault_of_the_settings_is_named(sound: Setup) -> None:
    """All faults of the settings are told at once, by name, without their values."""
    done = sound.run(WORKER_POOL__CONCURENCY="5", WORKER_AMQP__URL="amqp:/never-shown")
    assert done.returncode == 78
    assert "- WORKER_POOL__CONCURENCY: no such setting; did you mean" in done.stdout
    assert "- WORKER_AMQP__URL: " in done.stdout
    assert "never-shown" not in done.stdout + done.stderr


def test_the_account_is_told(sound: Setup) -> None:
    """The account is told without an expected one; STS that refuses us then is no failure."""
    done = sound.check(AWS_ENDPOINT_URL_STS=sound.sts())
    assert done.findings["aws account"]["state"] == "ok"
    assert f"account {ACCOUNT}, according to STS" in done.findings["aws account"]["detail"]
    away = sound.check(AWS_ENDPOINT_URL_STS=f"http://127.0.0.1:{sound.closed_port()}")
    assert away.findings["aws account"]["state"] == "skipped"
    assert "STS does not tell it" in away.findings["aws account"]["detail"]
    assert done.code == away.code == 0


@pytest.mark.long
def test_the_expected_account(sound: Setup) -> None:
    """The account that STS names is the one expected: that is said."""
    done = sound.check(WORKER_AWS__EXPECTED_ACCOUNT=ACCOUNT, AWS_ENDPOINT_URL_STS=sound.sts())
    assert done.findings["aws account"]["state"] == "ok"
    assert ACCOUNT in done.findings["aws account"]["detail"]
    assert done.code == 0


@pytest.mark.long
def test_credentials_are_named_by_where_they_are_found(sound: Setup) -> None:
    """Credentials of a file are told from those of the environment, and shown in neither case."""
    file = sound.file(
        "credentials",
        f"[default]\naws_access_key_id = AKIDCHECKCHECK\naws_secret_access_key = {SECRETS['aws']}",
    )
    done = sound.check(
        AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_SHARED_CREDENTIALS_FILE=file
    )
    assert done.code == 0
    assert "credentials file" in done.findings["aws credentials"]["detail"]
    assert SECRETS["aws"] not in done.said


@pytest.mark.long
def test_too_many_rights_are_only_noted(sound: Setup) -> None:
    """A broker's user and a database's role that may do anything pass, with a note."""
    done = sound.check(WORKER_AMQP__URL=sound.broker.url, WORKER_POSTGRES__DSN=sound.database.dsn)
    assert done.code == 0
    (more,) = done.findings["permissions"]["notes"]
    assert "declare exchanges and queues" in more
    assert "write any queue through the default exchange" in more
    assert "superuser" in done.findings["database"]["notes"][0]


def test_arguments_that_could_not_be_compared_are_noted(sound: Setup) -> None:
    """A user who may not declare can't see what differs: that is noted, and no failure."""
    done = sound.check(WORKER_AMQP__ADMIN_URL="")
    assert done.code == 0
    assert "WORKER_AMQP__ADMIN_URL" in done.findings["topology"]["notes"][0]


def test_a_private_key_beside_a_worker_is_noted(sound: Setup) -> None:
    """A private key in the environment is well, and a note says where it does not belong."""
    seal, opening = generate()
    done = sound.check(WORKER_DEAD_LETTERS__SEAL_KEY=seal, WORKER_DEAD_LETTERS__OPEN_KEYS=opening)
    assert done.code == 0, done.said
    assert "remove it from a worker's environment" in done.findings["seal key"]["notes"][0]


@pytest.mark.long
def test_a_throttled_call_is_an_accepted_one(sound: Setup) -> None:
    """AWS throttles only whom it accepts."""
    with ExitStack() as breaking:
        held, sound.breaking = sound.breaking, breaking
        sound.fault("ThrottlingException", "Rate exceeded")
        done = sound.check()
        sound.breaking = held
    assert done.code == 0
    assert "throttled" in done.findings["aws call"]["notes"][0]


async def test_nothing_is_consumed_or_published(sound: Setup) -> None:
    """Messages stay where and as they are, and no other comes, whatever the user may do."""
    connection = await aio_pika.connect(sound.broker.url)
    async with connection:
        channel = await connection.channel()
        events = await channel.declare_queue("resolution.reply.events", exclusive=True)
        await events.bind("resolution.events", "#")
        await events.bind("resolution.answers", "resolution-worker.check")
        await events.bind("resolution.state")
        for name in QUEUES:
            message = aio_pika.Message(b"{}", delivery_mode=2, message_id=name)
            await channel.default_exchange.publish(message, name)
        done = sound.check(WORKER_AMQP__URL=sound.broker.url)
        assert done.code == 0, done.said
        for name in (*QUEUES, events.name):
            queue = await channel.declare_queue(name, passive=True)
            # What waits in the shortest retry queue may be on its way into a lane by now.
            found = [await queue.get(no_ack=True, fail=False) for _ in range(3)]
            bodies = [each for each in found if each is not None]
            if name == events.name:
                assert bodies == []
            elif "retry" not in name:
                assert name in {each.message_id for each in bodies}
            for each in bodies:
                assert not each.redelivered or "x-death" in each.headers
                assert each.message_id in QUEUES


async def test_the_port_of_a_running_worker(sound: Setup) -> None:
    """The HTTP port is taken by a worker: that is well, and said."""
    worker = Worker(sound.environment())
    try:
        await worker.ready()
        port = str(await worker.port())
        done = sound.check(WORKER_HTTP__PORT=port)
        assert done.code == 0
        assert "in use by a worker" in done.findings["http port"]["detail"]
    finally:
        worker.kill()


def test_hosts_that_are_silent_or_dead_hide_no_other(sound: Setup) -> None:
    """With several hosts in both addresses all is well as long as one of each answers."""
    others = f"127.0.0.1:{sound.silent_port()},127.0.0.1:{sound.closed_port()}"
    environ = sound.environment()
    done = sound.check(
        **{
            name: environ[name].replace("@127.0.0.1", f"@{others},127.0.0.1")
            for name in ("WORKER_AMQP__URL", "WORKER_POSTGRES__DSN")
        }
    )
    assert done.names("failed") == set()
    assert done.findings["broker"]["detail"].count("127.0.0.1:") == 3


@pytest.mark.long
def test_several_that_hang_are_named_together(sound: Setup) -> None:
    """Broker, database and AWS all hang, and all are named in the time of one."""
    silent = sound.silent_port()
    began = time.monotonic()
    done = sound.run(
        "--json",
        WORKER_AMQP__URL=f"amqp://u:p@127.0.0.1:{silent}/",
        WORKER_POSTGRES__DSN=f"postgresql://u:p@127.0.0.1:{silent}/d",
        WORKER_AWS__ENDPOINT_URL=f"https://127.0.0.1:{silent}",
    )
    assert time.monotonic() - began < 20
    states = {each["check"]: each["state"] for each in json.loads(done.stdout)}
    failed = {name for name, state in states.items() if state == "failed"}
    assert failed == {"broker", "database", "aws endpoint"}
    assert done.returncode == 69


def test_the_remedy_for_rights_is_the_deployed_list() -> None:
    """The command that is recommended grants exactly what `deploy/rabbitmq` does."""
    deployed = shipped("resolution_worker", "resolution_worker")
    said = "; ".join(rights.fault("amqp://resolution_worker@127.0.0.1/", []))
    for expression in (deployed.configure, deployed.write, deployed.read):
        assert f"'{expression}'" in said


WORKERS = ("seal key", "stand-in", "aws credentials")


def test_the_operator_is_checked_as_such(sound: Setup) -> None:
    """With an operator's rights nothing fails, and nothing is advised that would widen them."""
    operator = sound.user(sound.broker, shipped("resolution_operator", "operator"))
    database = dsn(sound.database).replace("resolution_worker", "resolution_operator")
    unset = dict.fromkeys(
        ("WORKER_DEAD_LETTERS__SEAL_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ""
    )
    settings = {
        "WORKER_AMQP__URL": operator,
        "WORKER_AMQP__ADMIN_URL": operator,
        "WORKER_POSTGRES__DSN": database,
        **unset,
    }
    done = sound.run(**settings)
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    assert "->" not in done.stdout
    for name in WORKERS:
        words = "with the rights of the operator: workers need it; run `check` where one runs"
        assert f"skipped  {name.ljust(15)}  {words}" in done.stdout
    assert "ok       grants           resolution_operator has all that the operator needs" in (
        done.stdout
    )
    assert "5 checks are for workers: run `check` where one runs" in done.stderr


def test_a_publisher_is_not_advised_to_read_tokens(sound: Setup) -> None:
    """A user that may only publish is recognised, and is not advised to widen its rights."""
    publisher = sound.user(sound.broker, shipped("resolution_publisher", "publisher"))
    found = sound.check(WORKER_AMQP__URL=publisher).findings["permissions"]
    assert found["state"] == "skipped"
    assert "set_permissions" not in str(found)
