"""The programs of Prometheus and Alertmanager, as `make prometheus` puts them into .prometheus."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

UNPACKED = Path(__file__).parents[3] / ".prometheus"


def program(name: str) -> str:
    """The path of one of them."""
    path = os.pathsep.join((os.environ["PATH"], str(UNPACKED / "usr" / "bin")))
    found = shutil.which(name, path=path)
    assert found, f"there is no {name}: run `make prometheus` first"
    return found


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one to its end."""
    return subprocess.run(
        [program(name), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
