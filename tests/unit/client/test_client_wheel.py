"""The client's wheel, built as its README says and installed alone."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import resolution_client

ROOT = Path(__file__).parents[3]
STANDARD_LIBRARY = {"hashlib", "hmac", "ipaddress", "secrets", "uuid"}
"""What importing the client may import, besides aio-pika."""

REPORT = """
import json, sys, time
from importlib import metadata
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
import aio_pika
half, before = time.perf_counter(), set(sys.modules)
import resolution_client
ended, after = time.perf_counter(), set(sys.modules)
import resolution_client.blocking, resolution_client.testing
print(json.dumps({
    "file": resolution_client.__file__,
    "version": metadata.version("resolution-client"),
    "requires": metadata.requires("resolution-client"),
    "added": sorted(after - before),
    "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
    "all_ms": 1000 * (ended - began),
    "own_ms": 1000 * (ended - half),
}))
"""


def pip(*arguments: str) -> None:
    """Run pip, which may reach no index."""
    offline = ("--no-index", "--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", *arguments, *offline], cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client in it, and nothing else."""
    readme = (ROOT / "clients/python/README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^pip (wheel .*)$", readme, re.MULTILINE)
    dist, target = (tmp_path_factory.mktemp(name) for name in ("dist", "target"))
    words = [str(dist) if word == "dist" else word for word in shlex.split(command)]
    pip(*words, "--no-build-isolation")  # with the hatchling that is here
    (wheel,) = dist.iterdir()
    assert wheel.name == f"resolution_client-{resolution_client.__version__}-py3-none-any.whl"
    pip("install", "--no-deps", "--target", str(target), str(wheel))
    return target


def report(installed: Path) -> dict[str, Any]:
    """What a process tells that imports it."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", REPORT, str(installed)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_stands_alone(installed: Path) -> None:
    """The wheel has the package, its types and its licence, and needs aio-pika only."""
    told = report(installed)
    package = installed / "resolution_client"
    assert Path(told["file"]).parent == package
    assert told["version"] == resolution_client.__version__
    assert [re.split(r"[<>=]", need)[0] for need in told["requires"]] == ["aio-pika"]
    assert (package / "py.typed").exists()
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))
    assert {path.name.partition("-")[0] for path in installed.iterdir()} == {"resolution_client"}
    unwanted = {"worker", "botocore", "aiobotocore", "aiohttp", "asyncpg", "msgspec", "structlog"}
    assert unwanted.isdisjoint(told["loaded"])


def test_importing_it_is_cheap(installed: Path) -> None:
    """Beside aio-pika it imports its own modules and a few of the standard library's."""
    told = [report(installed) for _ in range(5)]
    best, own = (min(each[name] for each in told) for name in ("all_ms", "own_ms"))
    figure = f"import resolution_client: {best:.0f} ms, {own:.0f} ms of it beside aio-pika"
    print(figure)  # noqa: T201 - the figure
    added = {name.partition(".")[0] for name in told[0]["added"] if not name.startswith("_")}
    assert added <= {"resolution_client", *STANDARD_LIBRARY}
