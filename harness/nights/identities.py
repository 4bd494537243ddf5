"""Who runs a runbook's commands: an identity has settings, secrets and programs of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from harness.installation import bare_environment
from harness.programs import COMMAND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.nights.site import Site

_ROOT: Final = Path(__file__).parents[2]
_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Identity:
    """One who acts, on one machine.

    Attributes:
        environment: Its whole environment.
        folder: Where its commands run; `deploy` is there, as in the project's directory.
    """

    environment: Mapping[str, str]
    folder: Path

    async def run(self, command: str) -> str:
        """What a command prints, run by `sh`, standard error among the rest."""
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", command),
            env=dict(self.environment),
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_SECONDS):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        return said.decode(errors="replace")


def identity(site: Site, name: str) -> Identity:
    """An identity by its name; `docs/runbooks/README.md` says how a person becomes each."""
    home = site.folder / f"home-{name}"
    home.mkdir(exist_ok=True)
    links = {"deploy": _ROOT / "deploy", "passwords": site.folder / f"{name}-passwords"}
    for link, target in links.items():
        if target.exists() and not (home / link).exists():
            (home / link).symlink_to(target)
    environment = bare_environment(home) | _ENVIRONMENTS[name](site)
    environment["PATH"] = ":".join(
        (environment.get("PATH", ""), str(Path(COMMAND).parent), _SYSTEM)
    )
    return Identity(environment, home)


_SYSTEM: Final = "/usr/bin:/bin"


def _on_call(site: Site) -> dict[str, str]:
    return {
        "PATH": "",
        "USER": "alice",
        "LOGNAME": "alice",
        "WORKER_SECRETS_DIR": str(site.folder / "on-call"),
        "WORKER_HTTP__PORT": str(site.ports[1]),
    }


def _worker(site: Site) -> dict[str, str]:
    return settings(site) | {
        "PATH": str(site.folder / "programs"),
        "WORKER_SECRETS_DIR": str(site.folder / "worker"),
        "WORKER_HTTP__PORT": str(site.ports[1]),
    }


def _topology(site: Site) -> dict[str, str]:
    secrets = {"PATH": "", "WORKER_SECRETS_DIR": str(site.folder / "topology")}
    return settings(site) | secrets | {"USER": "alice", "LOGNAME": "alice"}


def _broker(site: Site) -> dict[str, str]:
    rabbitmq = site.hosts.rabbitmq
    return {**rabbitmq.environment, "PATH": f"{rabbitmq.programs}:{rabbitmq.environment['PATH']}"}


def _database(site: Site) -> dict[str, str]:
    address = urlsplit(site.schema.superuser)
    return {
        "PATH": "",
        "PGHOST": str(address.hostname),
        "PGPORT": str(address.port),
        "PGUSER": str(address.username),
        "PGPASSWORD": str(address.password),
        "PGDATABASE": site.database,
    }


_ENVIRONMENTS: Final = {
    "on-call": _on_call,
    "worker": _worker,
    "topology": _topology,
    "broker": _broker,
    "database": _database,
}


def settings(site: Site) -> dict[str, str]:
    """What the workers' file of settings has now."""
    lines = (site.folder / "worker.env").read_text().split()
    return dict(line.split("=", 1) for line in lines)
