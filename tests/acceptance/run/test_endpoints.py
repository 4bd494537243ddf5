"""Which endpoint is called: one rule wherever it was named, and a database that is made for it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from harness.programs import COMMAND, Worker
from harness.schema import prepare
from tests.acceptance.outcomes import fresh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from harness.installation import Installation
    from harness.schema import Schema
    from harness.servers import PostgresServer
    from harness.web_tier import WebTier

# A name that nobody has; nothing is ever sent there.
FAR: Final = "http://stand-in.invalid:8085"
PROFILES: Final = {
    "profile": "[default]\nendpoint_url = {url}\n",
    "service": "[default]\nservices = local\n[services local]\nmarketplace_metering =\n"
    "  endpoint_url = {url}\n",
    "STS of a profile": "[default]\nservices = local\n[services local]\nsts =\n"
    "  endpoint_url = {url}\n",
}
VARIABLES: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_MARKETPLACE_METERING",
    "AWS_ENDPOINT_URL_STS",
)


def named(how: str, url: str, home: Path) -> dict[str, str]:
    """The environment in which an endpoint is named so."""
    if how in VARIABLES:
        return {how: url}
    config = home / "aws-config"
    config.write_text(PROFILES[how].format(url=url))
    return {"AWS_CONFIG_FILE": str(config)}


def ended(stage: Installation, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, without the stage's own endpoint."""
    environment = stage.environment(**settings)
    environment = {name: value for name, value in environment.items() if value}
    return subprocess.run(
        [COMMAND, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("how", [*VARIABLES, *PROFILES])
@pytest.mark.sampled(3)
def test_an_endpoint_in_clear_is_refused_wherever_it_is_named(
    stage: Installation, tmp_path: Path, how: str
) -> None:
    """`run` ends with 78 before anything is sent, as it does for our own setting."""
    settings = named(how, FAR, tmp_path)
    done = ended(stage, "run", WORKER_AWS__ENDPOINT_URL="", **settings)
    assert done.returncode == 78, done.stderr
    assert "connects beyond loopback unencrypted" in done.stderr
    assert (how if how in VARIABLES else "profile") in done.stderr
    assert "Traceback" not in done.stderr
    assert '"consuming"' not in done.stdout


@pytest.mark.parametrize("how", ["AWS_ENDPOINT_URL", "service"])
@pytest.mark.sampled(2)
def test_check_refuses_it_too(stage: Installation, tmp_path: Path, how: str) -> None:
    """So does `check`, in its line about the endpoint."""
    settings = named(how, FAR, tmp_path)
    done = ended(stage, "check", "--json", WORKER_AWS__ENDPOINT_URL="", **settings)
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 78
    assert "unencrypted" in found["aws endpoint"]["detail"]
    assert found["stand-in"]["state"] == "skipped"


@pytest.mark.parametrize(
    "url", ["https://stand-in.invalid/aws", "https://user:pw@stand-in.invalid"]
)
@pytest.mark.sampled(2)
def test_what_is_no_endpoint_is_refused(stage: Installation, url: str) -> None:
    """A path would be left out of the signature, and a password shown: each is told."""
    done = ended(stage, "run", WORKER_AWS__ENDPOINT_URL="", AWS_ENDPOINT_URL=url)
    assert done.returncode == 78, done.stderr
    assert "AWS_ENDPOINT_URL" in done.stderr
    assert "pw" not in done.stderr


async def test_the_effective_endpoint_is_logged(stage: Installation, web: WebTier) -> None:
    """At the start the log says where calls go and who named it; `check` says the same."""
    url = stage.simulator.url
    worker = stage.start(WORKER_AWS__ENDPOINT_URL="", AWS_ENDPOINT_URL=url)
    assert (await web.settled(fresh("ok"))).status == "resolved"
    (line,) = worker.logged("aws_endpoint")
    assert (line["url"], line["named_by"]) == (url, "AWS_ENDPOINT_URL")
    done = ended(stage, "check", "--json", WORKER_AWS__ENDPOINT_URL="", AWS_ENDPOINT_URL=url)
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert "named by AWS_ENDPOINT_URL" in found["aws endpoint"]["detail"]
    assert "playground" in found["stand-in"]["detail"]


# --- a database says what it is ---


@pytest.fixture
async def genuine(postgres_server: PostgresServer) -> AsyncIterator[Schema]:
    """A database in which AWS alone makes customers."""
    with postgres_server.database() as database:
        yield await prepare(database, stand_in=False)


async def test_a_forgotten_simulator_forges_no_customer(
    stage: Installation, web: WebTier, genuine: Schema
) -> None:
    """On loopback too: `run` ends with 78, nothing is called or stored; `check` says why."""
    message_id = await web.submit(fresh("ok"), reply_to=web.reply_to)
    calls = await stage.simulator.calls()
    worker = stage.start(WORKER_POSTGRES__DSN=genuine.worker)
    assert await worker.exit_code() == 78
    assert "migrate --stand-in" in worker.said
    assert stage.simulator.url in worker.said
    assert "Traceback" not in worker.said
    assert await stage.simulator.calls() == calls
    assert await web.depth("resolution.tokens") == 1
    assert await genuine.rows("SELECT FROM resolution.ledger") == []
    done = ended(stage, "check", "--json", WORKER_POSTGRES__DSN=genuine.worker)
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 78
    assert found["stand-in"]["state"] == "failed"
    stage.start()  # with its own, which is marked
    assert (await web.event(message_id)).status == "resolved"


async def test_a_database_that_is_changed_under_a_worker_is_not_written(
    stage: Installation, web: WebTier, genuine: Schema, tmp_path: Path
) -> None:
    """A rotated address that leads to a real database stops calls, until it is mended."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    dsn = secrets / "postgres__dsn"
    dsn.write_text(stage.schema.worker)
    environment = stage.environment(WORKER_SECRETS_DIR=str(secrets))
    del environment["WORKER_POSTGRES__DSN"]
    worker = Worker(environment)
    stage.started.append(worker)
    assert (await web.settled(fresh("ok"))).status == "resolved"
    dsn.write_text(genuine.worker)
    await stage.schema.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'resolution_worker'"
    )
    await worker.unready("ledger", "not marked as a playground")
    message_id = await web.submit(fresh("ok"))
    dsn.write_text(stage.schema.worker)
    assert (await web.event(message_id)).status == "resolved"
    assert await genuine.rows("SELECT FROM resolution.ledger") == []


async def test_only_an_empty_schema_is_marked(stage: Installation, genuine: Schema) -> None:
    """The mark is set once, while nothing is stored, by the owner; and then it stays."""
    migrator = {"WORKER_POSTGRES__DSN": genuine.migrator}
    await genuine.execute(
        "INSERT INTO resolution.malformed_message (body_sha256, message_id, reason, received_at) "
        "VALUES (sha256('a'), 'm', 'r', now())"
    )
    refused = stage.command("migrate", "--stand-in", **migrator)
    assert refused.returncode == 1
    assert "something is already stored in it" in refused.stderr
    await genuine.execute("DELETE FROM resolution.malformed_message")
    for words in (("migrate", "--stand-in"), ("migrate",), ("migrate", "--stand-in")):
        done = stage.command(*words, **migrator)
        assert done.returncode == 0, done.stderr
        assert len(await genuine.rows("SELECT FROM resolution.stand_in")) == 1


async def test_the_worker_can_not_mark_a_database(genuine: Schema) -> None:
    """Nor can it, or people on call, take a mark away."""
    for role in (genuine.worker, genuine.operator):
        for statement in (
            "INSERT INTO resolution.stand_in (one) VALUES (TRUE)",
            "DELETE FROM resolution.stand_in",
            "UPDATE resolution.stand_in SET marked_by = 'me'",
        ):
            connection = await asyncpg.connect(role)
            try:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
            finally:
                await connection.close()
