"""deploy/compose.yaml on a Docker engine, as a project of its own beside whatever else runs there.

`COMPOSE_STAND_INS` names other images where those of the file can't be had, as words NAME=IMAGE:
`rabbitmq=mine/rabbitmq:4.3 python=mine/python:3.11`. A service whose image is given as `NAME=` is
left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
DEPLOYED = ROOT / "deploy"
PROJECT = "resolution-test"
IMAGE = "resolution-worker:test-compose"
OURS = "resolution-worker:local"
WORKERS = 2


class CommandError(AssertionError):
    """A command failed; its message is what it printed."""


def run(*command: str, given: str | None = None, seconds: float = 600) -> str:
    """What a command prints; it must succeed.

    Raises:
        CommandError: It failed.
    """
    ended = subprocess.run(
        command, input=given or "", capture_output=True, text=True, timeout=seconds, check=False
    )
    if ended.returncode:
        raise CommandError(f"{' '.join(command)}: {ended.stdout}{ended.stderr}")
    return ended.stdout


def engine_missing() -> str:
    """Why no Docker engine can be used here; empty if one can."""
    try:
        run("docker", "compose", "version")
        run("docker", "info")
    except FileNotFoundError:
        return "there is no `docker` here"
    except CommandError as error:
        return f"no Docker engine with Compose answers here ({str(error).splitlines()[0]})"
    return ""


def stand_ins() -> dict[str, str]:
    """Images that are used in place of others, by the name of the other without its tag."""
    words = os.environ.get("COMPOSE_STAND_INS", "").split()
    return {name: image for name, _, image in (word.partition("=") for word in words)}


def overrides(
    services: Mapping[str, Any], instead: Mapping[str, str], version: str
) -> dict[str, Any]:
    """What differs from compose.yaml: the stand-ins, and an image of the project's own name.

    Args:
        services: Those of compose.yaml.
        instead: The stand-ins.
        version: The image's label, so that another one makes another image.
    """
    changed: dict[str, Any] = {}
    for name, service in services.items():
        image = service["image"]
        known = image.rpartition(":")[0]
        if image == OURS:
            changed[name] = {"image": IMAGE}
        elif known in instead:
            stand_in = instead[known]
            changed[name] = {"image": stand_in} if stand_in else {"profiles": ["left-out"]}
    build: dict[str, Any] = {"context": str(ROOT), "labels": {"version": version}}
    if python := instead.get("python"):
        build["args"] = {"PYTHON": python}
    changed["worker"]["build"] = build
    return {"services": changed}


class Compose:
    """The project: a copy of deploy/ with secrets of its own, and the commands for it.

    Attributes:
        options: What stands between `docker compose` and its command.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "deploy"
        shutil.copytree(DEPLOYED, self._folder, ignore=shutil.ignore_patterns("secrets"))
        self._override = home / "override.json"
        self.of_version("first")
        self.options = [
            *("--project-name", PROJECT),
            *("--file", str(self._folder / "compose.yaml")),
            *("--file", str(self._override)),
        ]

    def __call__(self, *words: str, given: str | None = None) -> str:
        """What `docker compose` prints for these words; it must succeed."""
        return run("docker", "compose", *self.options, *words, given=given)

    def of_version(self, version: str) -> None:
        """Let the next build make an image of this version."""
        services = YAML(typ="safe").load(self._folder / "compose.yaml")["services"]
        self._override.write_text(json.dumps(overrides(services, stand_ins(), version)))

    def prepare(self) -> None:
        """Build the image and make the secrets."""
        self("build")
        make = str(self._folder / "make-secrets.sh")
        run(make, *("docker", "run", "--rm", "--network", "none", IMAGE))

    def containers(self, *services: str, everything: bool = False) -> list[dict[str, Any]]:
        """The containers, as `docker inspect` describes them.

        Args:
            services: Of these alone.
            everything: Those that have ended, too.
        """
        ids = self("ps", "--quiet", *(["--all"] if everything else []), *services).split()
        return list(json.loads(run("docker", "inspect", *ids))) if ids else []

    def unhealthy(self) -> list[str]:
        """The running containers whose health check has not passed."""
        return [
            container["Name"]
            for container in self.containers()
            if container["State"].get("Health", {}).get("Status", "healthy") != "healthy"
        ]

    def sql(self, query: str) -> str:
        """What PostgreSQL answers, as its superuser."""
        psql = ("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--username=postgres")
        return self(
            "exec", "-T", "postgres", *psql, "--dbname=marketplace", f"--command={query}"
        ).strip()

    def prometheus(self, path: str) -> Any:
        """What Prometheus's API answers."""
        url = f"http://127.0.0.1:9090/api/v1/{path}"
        return json.loads(self("exec", "-T", "prometheus", "wget", "-q", "-O", "-", url))["data"]

    def end(self) -> None:
        """Remove containers, network and data."""
        self("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")
