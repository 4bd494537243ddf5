"""Passwords rotated in the secrets directory, and connections that others could read."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from harness.installation import bare_environment
from harness.programs import COMMAND, Worker
from harness.waiting import eventually
from tests.acceptance.outcomes import fresh
from tests.odd_servers import NO_CAPABILITIES, NO_VERSION, answering

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from harness.installation import Installation
    from harness.web_tier import WebTier

OLD, NEW = "hunter-the-first", "hunter-the-second"
BESIDE = {"ca.crt": "x", "WORKER_AMQP__ULR": "x", "postgres__admin_dsn": "postgresql://a..b/"}
_LINKS = 2  # one to publish, one to consume


def spelt(url: str, password: str) -> str:
    """An address with another password."""
    where = urlsplit(url)
    return url.replace(where.netloc, f"{where.username}:{password}@{where.hostname}:{where.port}")


async def change_passwords(stage: Installation, password: str) -> None:
    """What an operator does first: the servers take the new passwords alone from now on."""
    user = urlsplit(stage.worker_url).username
    body = {"password": password, "tags": ""}
    await asyncio.to_thread(stage.broker.management.call, "PUT", "users", user or "", body=body)
    await stage.schema.execute(f"ALTER ROLE resolution_worker PASSWORD '{password}'")


def write_secrets(stage: Installation, directory: Path, password: str) -> None:
    """What an operator, or Kubernetes, does next."""
    directory.mkdir(exist_ok=True)
    amqp, dsn = spelt(stage.worker_url, password), spelt(stage.schema.worker, password)
    (directory / "WORKER_AMQP__URL").write_text(f"{amqp}\n", encoding="utf-8")
    (directory / "postgres__dsn").write_text(f"{dsn}\n", encoding="utf-8")


async def close_connections(stage: Installation) -> None:
    """Make the worker, and nobody else, connect again, to both servers."""
    await eventually(lambda: asyncio.to_thread(_drop_worker, stage), "the broker lists connections")
    await stage.schema.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'resolution_worker' AND datname = current_database()"
    )


def _drop_worker(stage: Installation) -> bool:
    call, user = stage.broker.management.call, urlsplit(stage.worker_url).username
    names = [one["name"] for one in call("GET", "connections") or [] if one["user"] == user]
    for name in names:
        with suppress(HTTPError):  # it closed by itself meanwhile
            call("DELETE", "connections", name)
    return len(names) >= _LINKS


@asynccontextmanager
async def passwords_asked(stage: Installation) -> AsyncIterator[None]:
    """The worker's role has to give its password, in this database alone, until the block ends."""
    ((name,),) = await stage.schema.rows("SHOW hba_file")
    file, database = Path(name), urlsplit(stage.schema.worker).path[1:]
    rule = f"host {database} resolution_worker 127.0.0.1/32 scram-sha-256\n"
    rules = await asyncio.to_thread(file.read_text)
    await asyncio.to_thread(file.write_text, rule + rules)
    await stage.schema.rows("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        await asyncio.to_thread(file.write_text, rules)
        await stage.schema.rows("SELECT pg_reload_conf()")


async def test_rotated_passwords_are_taken_up(
    stage: Installation, web: WebTier, tmp_path: Path
) -> None:
    """Once new passwords lie in the secrets directory, the next connections use them.

    A file of somebody else's, a misspelt one and a bad value beside them change nothing about that.
    """
    secrets = tmp_path / "secrets"
    async with passwords_asked(stage):
        await change_passwords(stage, OLD)
        write_secrets(stage, secrets, OLD)
        environment = stage.environment(WORKER_SECRETS_DIR=str(secrets))
        del environment["WORKER_AMQP__URL"], environment["WORKER_POSTGRES__DSN"]
        worker = Worker(environment)
        stage.started.append(worker)
        await worker.ready()
        assert (await web.settled(fresh("ok"))).status == "resolved"

        await change_passwords(stage, NEW)
        assert (await web.settled(fresh("ok"))).status == "resolved"  # open connections stay
        await close_connections(stage)
        waiting = await web.submit(fresh("ok"))
        refused = await worker.unready("consuming")
        assert await eventually(lambda: worker.logged("broker_link_down"), "the refusal is logged")
        for name, content in BESIDE.items():
            (secrets / name).write_text(content, encoding="utf-8")
        write_secrets(stage, secrets, NEW)

        assert (await web.event(waiting)).status == "resolved"
        await worker.ready()
        named = [
            [Path(fault.partition(":")[0]).name for fault in line["faults"]]
            for line in worker.logged("secrets_kept")
        ]
        wrong = list(BESIDE)[1:]
        assert named[-1] == wrong
        assert all(set(names) <= set(wrong) for names in named)  # some may be written yet
        assert all("correct these" in line["remedy"] for line in worker.logged("secrets_kept"))
        assert "ca.crt" in worker.logged("secrets_ignored")[0]["reason"]
        _, metrics = await worker.get("/metrics")
        stage.clear()
    assert worker.process.poll() is not None
    told = worker.said + refused + metrics
    assert OLD not in told
    assert NEW not in told
    assert "Traceback" not in worker.said


@pytest.mark.long
async def test_addresses_rotated_to_nothing_of_use(
    stage: Installation, web: WebTier, tmp_path: Path
) -> None:
    """Whatever a new address leads to, the worker waits, says so, and is back once it is mended."""
    secrets = tmp_path / "secrets"
    write_secrets(stage, secrets, OLD)
    environment = stage.environment(WORKER_SECRETS_DIR=str(secrets))
    del environment["WORKER_AMQP__URL"], environment["WORKER_POSTGRES__DSN"]
    await change_passwords(stage, OLD)
    worker = Worker(environment)
    stage.started.append(worker)
    await worker.ready()
    amqp, dsn = secrets / "WORKER_AMQP__URL", secrets / "postgres__dsn"
    async with answering(*NO_CAPABILITIES) as broker, answering(*NO_VERSION) as database:
        amqp.write_text(f"amqp://u:{NEW}@127.0.0.1:{broker}/", encoding="utf-8")
        dsn.write_text(f"postgresql://u:{NEW}@127.0.0.1:{database}/x?sslmode=disable")
        await close_connections(stage)
        await worker.unready("not foreseen: KeyError", "is not PostgreSQL", "WORKER_POSTGRES__DSN")
        amqp.write_text(f"amqp://u:{NEW}@broker..internal/", encoding="utf-8")
        dsn.write_text(f"postgresql://u:{NEW}@{'x' * 64}.internal/x", encoding="utf-8")
        waiting = await web.submit(fresh("ok"))
        await eventually(
            lambda: len(worker.logged("secrets_kept")) > 0, "the typing errors are told"
        )
        assert worker.process.poll() is None
        write_secrets(stage, secrets, OLD)
        assert (await web.event(waiting)).status == "resolved"
        await worker.ready()
    stage.clear()
    faults = [fault for line in worker.logged("secrets_kept") for fault in line["faults"]]
    assert any("an empty part" in fault for fault in faults)
    assert any("more than 63 bytes" in fault for fault in faults)
    assert NEW not in worker.said
    assert "Traceback" not in worker.said


UNUSABLE = {
    "WORKER_AMQP__URL": "amqps://u:hunter2@broker..internal/",
    "WORKER_POSTGRES__DSN": "postgresql://u:hunter2@db..internal/x?sslmode=verify-full",
}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("run", "WORKER_POSTGRES__DSN"),
        ("migrate", "WORKER_POSTGRES__DSN"),
        ("status", "WORKER_AMQP__URL"),
    ],
)
@pytest.mark.sampled(3)
def test_an_address_that_cannot_be_used_is_refused(
    tmp_path: Path, keys: Mapping[str, str], command: str, name: str
) -> None:
    """A typing error in a host ends any command at once with 78, and names the setting."""
    seal = {"WORKER_DEAD_LETTERS__SEAL_KEY": keys["WORKER_DEAD_LETTERS__SEAL_KEY"]}
    environment = bare_environment(tmp_path) | seal | {name: UNUSABLE[name]}
    done = subprocess.run(
        [COMMAND, command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.startswith(f"{name}: names a host with an empty part")
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


LEAVING = {
    "WORKER_AMQP__URL": "amqp://worker:hunter2@broker.example/",
    "WORKER_POSTGRES__DSN": "postgresql://worker:hunter2@db.example/resolution",
    "WORKER_AWS__ENDPOINT_URL": "http://metering.example/",
}


@pytest.mark.parametrize("name", LEAVING)
@pytest.mark.sampled(3)
async def test_plaintext_beyond_loopback_is_refused(
    tmp_path: Path, keys: Mapping[str, str], name: str
) -> None:
    """An address that leaves the machine in clear ends `run` with 78, unless that is allowed."""
    seal = {"WORKER_DEAD_LETTERS__SEAL_KEY": keys["WORKER_DEAD_LETTERS__SEAL_KEY"]}
    environment = bare_environment(tmp_path) | seal
    environment |= {"WORKER_HTTP__PORT": "0", name: LEAVING[name]}
    worker = Worker(environment)
    try:
        assert await worker.exit_code() == 78
    finally:
        worker.kill()
    assert name in worker.said
    assert "WORKER_ALLOW_PLAINTEXT" in worker.said
    assert "hunter2" not in worker.said
    assert "Traceback" not in worker.said


@pytest.mark.parametrize("name", LEAVING)
@pytest.mark.sampled(3)
async def test_plaintext_that_is_allowed_is_used(stage: Installation, name: str) -> None:
    """With leave to do so, `run` starts although an address leaves the machine in clear."""
    worker = stage.start(WORKER_ALLOW_PLAINTEXT="true", **{name: LEAVING[name]})

    await worker.port()

    assert worker.process.poll() is None
    assert "hunter2" not in worker.said
