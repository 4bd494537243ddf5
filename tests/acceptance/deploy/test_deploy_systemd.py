"""The units for systemd: what systemd itself says of them, and that they fit the program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.programs import COMMAND
from worker.core.durations import parse
from worker.settings import sources
from worker.settings.model import Pool

ROOT = Path(__file__).parents[3]
UNITS = ROOT / "deploy" / "systemd"
README = (UNITS / "README.md").read_text(encoding="utf-8")
WORKER = "resolution-worker@.service"
JOBS = ("resolution-worker-migrate.service", "resolution-worker-topology.service")
PROGRAM = "/opt/resolution-worker/bin/resolution-worker"
MOST_EXPOSURE = 1.5

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd is not installed; run scripts/systemd.sh",
)


def text(unit: str) -> str:
    """A unit's file."""
    return (UNITS / unit).read_text(encoding="utf-8")


def settings(unit: str, name: str) -> list[str]:
    """The values of a setting, in their order."""
    return re.findall(rf"^{name}=(.*)$", text(unit), re.MULTILINE)


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The units as they are installed, with the program where it is here."""
    paths = []
    for unit in (WORKER, *JOBS):
        path = tmp_path / unit.replace("@.", "@1.")
        path.write_text(text(unit).replace(PROGRAM, COMMAND), encoding="utf-8")
        paths.append(path)
    return paths


def analyze(*arguments: str | Path) -> str:
    """What systemd-analyze prints; it must have nothing to complain about."""
    command = ["systemd-analyze", *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr
    return run.stdout


@needs_systemd
def test_systemd_understands_the_units(installed: list[Path]) -> None:
    """No setting is unknown or unreadable, and each program is there."""
    assert analyze("verify", "--man=no", "--recursive-errors=no", *installed) == ""


@needs_systemd
@pytest.mark.parametrize("which", range(3))
def test_the_units_are_exposed_little(installed: list[Path], which: int) -> None:
    """By systemd's own scale from 0 to 10 a unit may do next to nothing but use the network."""
    unit = installed[which]
    said = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSURE * 10:g}", unit)
    exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", said)[1])  # type: ignore[index]
    assert f"at {exposure:g} of 10" in README
    found: list[dict[str, Any]] = json.loads(
        analyze("security", "--offline=yes", "--json=short", unit)
    )
    open_ways = {each["name"] for each in found if each["set"] is False and each["exposure"]}
    print(f"{unit.name}: {exposure}; {sorted(open_ways)}")  # noqa: T201 - for the report


def test_all_units_are_shut_in_alike() -> None:
    """What a unit may not do is the same, line by line, in all of them."""

    def walls(unit: str) -> str:
        _, found = text(unit).split("# --- what it may not do", 1)
        return found.partition("[Install]")[0].strip()

    assert walls(JOBS[0]) == walls(WORKER)
    assert walls(JOBS[1]) == walls(WORKER)


@pytest.mark.parametrize("unit", [WORKER, *JOBS])
def test_credentials_are_named_like_settings(unit: str, tmp_path: Path) -> None:
    """A file of `/etc/resolution-worker/…` is, under its credential's name, a setting's secret."""
    (loaded,) = settings(unit, "LoadCredential")
    name, _, folder = loaded.partition(":")
    rows = re.findall(r"^\| (`\S+__\S+`(?:, `\S+`)*) \|", README, re.MULTILINE)
    files = [file for row in rows for file in re.findall(r"`(\S+?)`", row)]
    mine = [file for file in files if f"/{file.partition('/')[0]}" == f"/{Path(folder).name}"]
    assert mine
    for file in mine:
        (tmp_path / f"{name}_{Path(file).name}").write_text("x")
    found = sources.secrets(tmp_path)
    assert len(found.values) == len(mine)
    assert (found.strays, found.foreign) == ((), ())
    assert "WORKER_SECRETS_DIR=%d" in settings(unit, "Environment")


def test_a_drain_fits_into_the_time_to_stop() -> None:
    """The time that systemd waits covers the drain of the default settings, and more."""
    (most,) = settings(WORKER, "TimeoutStopSec")
    assert parse(most).seconds >= Pool().drain + 10
    assert settings(WORKER, "KillSignal") == ["SIGTERM"]
