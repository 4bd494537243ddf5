"""PostgreSQL refuses to run as root: if we are root, it runs as another user."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.lab.servers.errors import ServiceError

_NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The directory and the user of a server that must not run as root.

    Attributes:
        prefix: The command that changes to this user; empty if we are not root.
        home: A directory that this user owns.
        binaries: The server's programs, which this user may read.
    """

    prefix: list[str]
    home: Path
    binaries: Path


@contextmanager
def sandbox(directory: Path, installation: Path) -> Iterator[Sandbox]:
    """A directory and a user for a server that must not run as root.

    Args:
        directory: Where its data goes if that can be.
        installation: A folder with `bin`, `lib` and `share`.

    Raises:
        ServiceError: Neither a user namespace nor another user can be had.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        yield Sandbox([], directory, installation / "bin")
    elif _works(namespace := _namespace()):
        yield Sandbox(namespace, directory, installation / "bin")
    else:
        with _as_nobody(installation) as made:
            yield made


def _namespace() -> list[str]:
    """Root outside is an ordinary user inside: no file changes its owner."""
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"]


def _nobody() -> list[str]:
    return ["setpriv", f"--reuid={_NOBODY}", "--regid=nogroup", "--clear-groups"]


def _works(prefix: list[str]) -> bool:
    if shutil.which(prefix[0]) is None:
        return False
    probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)  # noqa: S603 - ours
    return probe.returncode == 0


@contextmanager
def _as_nobody(installation: Path) -> Iterator[Sandbox]:
    """A folder of the user `nobody`, with a copy of the programs.

    The environment may lie beneath a folder that only root can enter, and opening other
    people's folders is not for us to do.
    """
    if not _works(_nobody()):
        raise ServiceError(
            "PostgreSQL does not run as root, and neither `unshare --user` nor `setpriv` is"
            " permitted here: run this as an ordinary user, or name a server in"
            " WORKER_POSTGRES__DSN"
        )
    with tempfile.TemporaryDirectory(prefix="resolution-postgres-", dir=_public()) as folder:
        home = Path(folder)
        binaries = _copy(installation, home) / "bin"
        shutil.chown(home, _NOBODY, "nogroup")
        yield Sandbox(_nobody(), home, binaries)


def _public() -> Path:
    """A folder for temporary ones that everybody can enter; TMPDIR may name a private one."""
    folders = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - only made in
    for folder in folders:
        if all(step.stat().st_mode & stat.S_IXOTH for step in (folder, *folder.parents)):
            return folder
    raise ServiceError(
        f"PostgreSQL does not run as root, and the user {_NOBODY} can enter none of"
        f" {', '.join(map(str, folders))}: run this as an ordinary user, or name a server in"
        " WORKER_POSTGRES__DSN"
    )


def _copy(installation: Path, home: Path) -> Path:
    """Copy the programs, and the libraries that the wheel keeps beside their package."""
    package = installation.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, home / libraries.name)
    return Path(
        shutil.copytree(installation, home / package.name / installation.name, symlinks=True)
    )
