"""How `run` starts: at once where all is there, waiting where it is not, refusing what is wrong."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.installation import bare_environment
from harness.programs import Worker
from harness.schema import addresses, run_script
from harness.tcp_proxy import proxy_to
from harness.web_tier import web_tier
from tests.acceptance.conftest import declare_topology, staged
from tests.acceptance.outcomes import fresh

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.installation import Installation
    from harness.programs import Simulator
    from harness.servers import Broker, Database, PostgresServer
    from harness.web_tier import WebTier

FIRST_TOKEN_SECONDS = 15.0  # 2 on a machine that does nothing else
FIRST_TOKEN_CPU_SECONDS = 5.0  # 1.2, however busy the machine is


async def refused(environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code and words of a worker that should not start."""
    worker = Worker(environment, *arguments)
    try:
        code = await worker.exit_code()
    finally:
        worker.kill()
    assert "Traceback" not in worker.said
    assert not worker.out
    return code, worker.said


async def test_the_first_token_is_settled_soon(stage: Installation, web: WebTier) -> None:
    """With all servers up, a token that waits is settled within moments of the start."""
    message_id = await web.submit(fresh("ok"), reply_to=web.reply_to)

    began = time.monotonic()
    worker = stage.start()
    told = await web.event(message_id)
    seconds = time.monotonic() - began
    used = sum(psutil.Process(worker.process.pid).cpu_times()[:2])

    print(f"the first token was settled after {seconds:.2f} s, {used:.2f} s of them at work")  # noqa: T201 - for the reader of a report
    assert told.status == "resolved"
    assert used < FIRST_TOKEN_CPU_SECONDS
    assert seconds < FIRST_TOKEN_SECONDS
    # A dump of its memory would hold tokens and passwords.
    assert psutil.Process(worker.process.pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert await worker.get("/healthz") == (200, '{"ok":true,"faults":{}}')
    await worker.ready()


async def test_without_a_seal_key_it_does_not_start(tmp_path: Path) -> None:
    """Without the public key `run` ends with 78 and names the setting and `keygen`."""
    code, said = await refused(bare_environment(tmp_path))

    assert code == 78
    assert "WORKER_DEAD_LETTERS__SEAL_KEY" in said
    assert "resolution-worker keygen" in said


BAD = {
    "WORKER_AMQP__URL": "http://broker",
    "WORKER_POSTGRES__DSN": "postgresql://worker:hunter2@db.example/resolution",
    "WORKER_POOL__CONCURRENCY": "many",
    "WORKER_RETRY__DELAYS": "soon",
    "WORKER_LOG__LEVEL": "loud",
    "WORKER_AWS__TIMEOUT": "5",
    "WORKER_HTTP__PORT": "70000",
    "WORKER_DEAD_LETTERS__SEAL_KEY": "c2hvcnQ=",
    "WORKER_FROBNICATE__LEVEL": "1",
    "WORKER_LOG__COLOUR": "red",
}


async def test_all_bad_settings_are_named_at_once(tmp_path: Path) -> None:
    """Every unknown key and bad value is named with what is accepted, and no secret is shown."""
    code, said = await refused(bare_environment(tmp_path) | BAD)

    assert code == 78
    assert [name for name in BAD if name not in said] == []
    assert "WORKER_ALLOW_PLAINTEXT" in said
    assert "debug, info, warning" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, ("worker.toml",)),
        ("[rate\nceiling = 1", ("worker.toml",)),
        ("[rate]\nceilng = 1\n[pool]\nconcurrency = 0", ("ceilng", "concurrency")),
    ],
    ids=["absent", "no TOML", "bad values"],
)
@pytest.mark.sampled(3)
async def test_a_bad_file_is_refused(
    tmp_path: Path, keys: Mapping[str, str], text: str | None, names: tuple[str, ...]
) -> None:
    """A file that is absent, unreadable or wrong ends `run` with 78 and is named."""
    path = tmp_path / "worker.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")

    code, said = await refused(bare_environment(tmp_path) | dict(keys), "--config", str(path))

    assert code == 78
    assert all(name in said for name in names)


@pytest.mark.long
async def test_names_that_kubernetes_injects_are_no_settings(
    stage: Installation, web: WebTier
) -> None:
    """What Kubernetes sets for a Service named `worker` neither configures nor stops it."""
    stage.start(
        WORKER_SERVICE_HOST="10.0.0.1",
        WORKER_SERVICE_PORT="9108",
        WORKER_PORT="tcp://10.0.0.1:9108",
        WORKER_PORT_9108_TCP_ADDR="10.0.0.1",
    )

    assert (await web.settled(fresh("ok"))).status == "resolved"


async def test_a_taken_port_is_named(stage: Installation) -> None:
    """A port that another program holds ends `run` with 69 and a way out."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        worker = stage.start(WORKER_HTTP__PORT=port)
        code = await worker.exit_code()

    assert code == 69
    assert f"127.0.0.1:{port}" in worker.said
    assert "WORKER_HTTP__PORT" in worker.said
    assert "Traceback" not in worker.said


async def test_it_waits_for_absent_servers(stage: Installation, web: WebTier) -> None:
    """With neither broker nor database it lives, says what is missing, and works once they come."""
    message_id = await web.submit(fresh("ok"))
    async with (
        proxy_to(stage.worker_url, shut=True) as broker,
        proxy_to(stage.schema.worker, shut=True) as database,
    ):
        worker = stage.start(WORKER_AMQP__URL=broker.url, WORKER_POSTGRES__DSN=database.url)
        await worker.unready("ledger", "publishing", "consuming", "no server listens there")
        assert (await worker.get("/healthz"))[0] == 200
        assert worker.process.poll() is None

        await database.open()
        await broker.open()
        told = await web.event(message_id)

        assert told.status == "resolved"
        await worker.ready()
        worker.kill()


@pytest.mark.long
async def test_it_waits_for_the_topology(
    broker: Broker,
    database: Database,
    simulator: Simulator,
    keys: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """Without queues it waits, unready, and says which command declares them; then it works."""
    with staged(broker, addresses(database), simulator, keys, tmp_path) as stage:
        await run_script(stage.schema.superuser, "roles.sql")
        assert (
            stage.command(
                "migrate", "--stand-in", WORKER_POSTGRES__DSN=stage.schema.migrator
            ).returncode
            == 0
        )
        await run_script(stage.schema.migrator, "grants.sql")

        worker = stage.start()
        await worker.unready("resolution.tokens", "resolution-worker topology declare")
        assert (await worker.get("/healthz"))[0] == 200
        await asyncio.to_thread(declare_topology, broker)
        await worker.ready()

        async with web_tier(stage) as web:
            assert (await web.settled(fresh("ok"))).status == "resolved"


async def test_it_waits_for_the_schema(
    broker: Broker,
    database: Database,
    simulator: Simulator,
    keys: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """Without the schema it consumes nothing and names `migrate`; once it is there, it works."""
    await asyncio.to_thread(declare_topology, broker)
    with staged(broker, addresses(database), simulator, keys, tmp_path) as stage:
        await run_script(stage.schema.superuser, "roles.sql")
        async with web_tier(stage) as web:
            message_id = await web.submit(fresh("ok"))
            worker = stage.start()
            await worker.unready("ledger", "resolution-worker migrate")
            assert (await web.depths())["resolution.tokens"] == 1
            assert (await worker.get("/healthz"))[0] == 200

            migrated = stage.command(
                "migrate", "--stand-in", WORKER_POSTGRES__DSN=stage.schema.migrator
            )
            assert migrated.returncode == 0, migrated.stderr
            await worker.unready("ledger", "deploy/postgres/grants.sql")
            await run_script(stage.schema.migrator, "grants.sql")

            assert (await web.event(message_id)).status == "resolved"
            await worker.ready()


async def test_an_old_schema_is_told_from_a_new_one(stage: Installation, web: WebTier) -> None:
    """A schema older than the program makes it wait and name `migrate`; a newer one does not."""
    await stage.schema.execute(
        "CREATE TABLE public.kept AS SELECT * FROM resolution.schema_migration;"
        "DELETE FROM resolution.schema_migration"
    )
    worker = stage.start()
    await worker.unready("ledger", "version 0", "resolution-worker migrate")

    await stage.schema.execute(
        "INSERT INTO resolution.schema_migration SELECT * FROM public.kept;"
        "UPDATE public.kept SET version = version + 1000;"
        "INSERT INTO resolution.schema_migration SELECT * FROM public.kept"
    )

    assert (await web.settled(fresh("ok"))).status == "resolved"
    await worker.ready()


async def test_it_waits_for_a_database_that_holds_unicode(
    stage: Installation, postgres_server: PostgresServer
) -> None:
    """On a database of another encoding it consumes nothing, goes on running and names it."""
    with postgres_server.database("template0", "LATIN1") as database:
        worker = stage.start(WORKER_POSTGRES__DSN=database.dsn)
        said = await worker.unready("ledger", "encoding is LATIN1")
        assert "ENCODING 'UTF8'" in said
