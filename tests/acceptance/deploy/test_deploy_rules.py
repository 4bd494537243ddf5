"""Prometheus's own checks of the deployed configuration and alerts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
DEPLOYED = ROOT / "deploy" / "prometheus"


def promtool(*arguments: str, where: Path = DEPLOYED) -> subprocess.CompletedProcess[str]:
    """Run promtool in a folder."""
    path = os.pathsep.join((os.environ["PATH"], str(ROOT / ".prometheus" / "usr" / "bin")))
    found = shutil.which("promtool", path=path)
    assert found, "there is no promtool: run `make prometheus` first"
    return subprocess.run(
        [found, *arguments], cwd=where, capture_output=True, text=True, timeout=60, check=False
    )


def yaml(name: str) -> Any:
    """A file of deploy/prometheus."""
    return YAML(typ="safe").load(DEPLOYED / name)


def alerts() -> list[Any]:
    """All alerts."""
    return [rule for group in yaml("alerts.yml")["groups"] for rule in group["rules"]]


def test_prometheus_accepts_configuration_and_alerts() -> None:
    """Prometheus takes the configuration and every rule in it, without a warning."""
    checked = promtool("check", "config", "--lint-fatal", "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(alerts())} rules found" in checked.stdout


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    """The alerts pass their unit tests."""
    tested = promtool("test", "rules", "alerts.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_an_alert_that_no_longer_fires_fails_its_unit_test(tmp_path: Path) -> None:
    """For each alert there is a unit test that notices when it never fires."""
    text = (DEPLOYED / "alerts.yml").read_text(encoding="utf-8")
    shutil.copy(DEPLOYED / "alerts.test.yml", tmp_path)
    silent = text.replace("for: ", "for: 10")  # 1m becomes 101m
    (tmp_path / "alerts.yml").write_text(silent, encoding="utf-8")
    tested = promtool("test", "rules", "alerts.test.yml", where=tmp_path)
    assert tested.returncode != 0
    missed = set(re.findall(r"alertname: (\w+)", tested.stdout + tested.stderr))
    assert missed == {alert["alert"] for alert in alerts()}


def test_each_alert_says_how_urgent_it_is_and_what_to_do() -> None:
    """An alert has a severity, a summary, and words on what to look at."""
    for alert in alerts():
        assert alert["labels"]["severity"] in {"page", "ticket"}, alert
        assert alert["annotations"].keys() == {"summary", "description"}, alert
