"""A small disk that can be filled, where this machine lets us mount one."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 4096


def permitted() -> bool:
    """Whether a tmpfs may be mounted by whoever we are."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tmpfs(Path(folder), "1m"):
                return True
        except OSError:
            return False


@contextmanager
def tmpfs(where: Path, size: str) -> Iterator[Path]:
    """A file system in memory, until the block ends.

    Raises:
        OSError: It may not be mounted here.
    """
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(where)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise OSError(mounted.stderr.strip())
    try:
        yield where
    finally:
        # Lazily: a server may still hold a file of it that is deleted.
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def fill(disk: Path) -> Path:
    """Write until the disk is full; returns the file to delete."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(_CHUNK)):
            pass
    return filler
