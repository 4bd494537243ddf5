"""What the Dockerfile does, done without Docker: build, install, run, probe."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from worker import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.programs import Worker

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
LOCKS = ROOT / "requirements"
IMPORT_ALL = """
import importlib, pkgutil, worker
apart = ("worker.__main__", "worker.lab.simulator.__main__", "worker.lab.servers.__main__")
for module in pkgutil.walk_packages(worker.__path__, "worker."):
    if module.name not in apart:
        importlib.import_module(module.name)
"""


def instructions() -> list[str]:
    """The Dockerfile's instructions, each on one line."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    without_comments = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    return without_comments.replace("\\\n", " ").splitlines()


def instruction(name: str) -> str:
    """The last instruction of a name: what holds for the image."""
    return [line for line in instructions() if line.startswith(f"{name} ")][-1]


def done(*command: str | Path, where: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints; it must succeed."""
    ended = subprocess.run(
        list(map(str, command)),
        cwd=where,
        env=None if environment is None else dict(environment),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def pins(lock: str) -> dict[str, str]:
    """The versions that a lock file names."""
    text = (LOCKS / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def context() -> Iterator[str]:
    """What the Dockerfile copies out of the project."""
    for line in instructions():
        if line.startswith("COPY ") and "--from" not in line:
            yield from line.split()[1:-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of what is copied into the image's first stage and of nothing else."""
    source = tmp_path_factory.mktemp("source")
    for name in context():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name)
        else:
            shutil.copy(ROOT / name, source)
    done(sys.executable, "-m", "hatchling", "build", "--target", "wheel", where=source)
    (built,) = (source / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare virtual environment into which run.txt and the wheel are installed; its programs."""
    home = tmp_path_factory.mktemp("installed")
    bare = home / "venv"
    done(sys.executable, "-m", "venv", "--without-pip", bare, where=home)
    pip = (sys.executable, "-m", "pip", "--python", bare / "bin" / "python")
    install = (
        *pip,
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-compile",
    )
    lock = LOCKS / "run.txt"
    hashes = ("--require-hashes", "--only-binary", ":all:")
    done(*install, *hashes, "--requirement", lock, where=home)
    done(*install, "--no-index", wheel, where=home)
    done(*pip, "check", where=home)
    return bare / "bin"


@pytest.mark.timeout(400)
@pytest.mark.long
def test_the_command_runs_from_wheel_and_locked_requirements_alone(
    installed: Path, tmp_path: Path
) -> None:
    """`resolution-worker --version` works where run.txt and the wheel are all there is."""
    nothing_else = {"PATH": str(installed), "HOME": str(tmp_path)}
    command = installed / "resolution-worker"
    said = done(command, "--version", where=tmp_path, environment=nothing_else)
    assert said == f"resolution-worker {__version__}\n"
    done(command, "keygen", where=tmp_path, environment=nothing_else)
    done(installed / "python", "-c", IMPORT_ALL, where=tmp_path, environment=nothing_else)


def test_the_wheel_carries_every_file_of_the_package(wheel: Path) -> None:
    """Queries, migrations and the types' mark are in the wheel, and nothing but the package is."""
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / "worker").rglob("*") if path.is_file())
    own = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert packed == own


def test_only_what_the_image_needs_is_let_into_the_build() -> None:
    """.dockerignore lets in exactly what is copied: no secrets, no repository."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(context())


def test_the_wheel_is_built_with_the_versions_that_are_developed_with() -> None:
    """build.txt names hatchling and the versions of dev.txt."""
    build, dev = pins("build.txt"), pins("dev.txt")
    assert "hatchling" in build
    assert build.items() <= dev.items()


def test_the_dockerfile_passes_hadolint() -> None:
    """The linter hadolint finds nothing to say about the Dockerfile."""
    hadolint = ROOT / os.environ.get("TOOLS_VENV", ".venv-tools") / "bin" / "hadolint"
    assert hadolint.exists(), f"there is no {hadolint}: run `make tools` first"
    done(hadolint, DOCKERFILE, where=ROOT)


def test_the_image_is_not_root_and_drains() -> None:
    """The image runs the command itself, as a user that is not root, and is ended by SIGTERM."""
    assert instruction("ENTRYPOINT") == 'ENTRYPOINT ["resolution-worker"]'
    assert instruction("CMD") == 'CMD ["run"]'
    assert instruction("STOPSIGNAL") == "STOPSIGNAL SIGTERM"
    assert int(instruction("USER").split()[1].split(":")[0]) > 0


def probe(port: int) -> int:
    """The exit code of the image's health check, for a worker on this port."""
    command = json.loads(instruction("HEALTHCHECK").partition(" CMD ")[2])
    assert command[0] == "python"
    environment = {"WORKER_HTTP__PORT": str(port)}
    run = subprocess.run(
        [sys.executable, *command[1:]], env=environment, capture_output=True, check=False
    )
    return run.returncode


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers everything with one status; its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


async def test_the_health_check_asks_the_worker(shared_worker: Worker) -> None:
    """The health check passes for a living worker, and fails for an ill one and for none."""
    await shared_worker.ready()
    assert probe(await shared_worker.port()) == 0
    with answering(503) as ill:
        assert probe(ill) == 1
    assert probe(ill) == 1
