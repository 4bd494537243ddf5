"""Prometheus's own checks of the deployed configuration and alerts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from tests.acceptance.deploy.alert_cases import CASES, WELL
from tests.acceptance.deploy.alert_rules import Case, Fires, Silent, promtool_file
from tests.acceptance.deploy.prometheus_programs import run

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]
DEPLOYED = ROOT / "deploy" / "prometheus"
SHIPPED = DEPLOYED / "alerts.yml"


def rules_file() -> Any:
    """The rules as they are shipped."""
    return YAML(typ="safe").load(SHIPPED)


def alerts() -> dict[str, Any]:
    """All alerts by name."""
    rules = [rule for group in rules_file()["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


def rendered(*options: str) -> str:
    """What render.py prints."""
    command = [sys.executable, "-I", "-S", str(DEPLOYED / "render.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def judged(cases: Sequence[Case], rules: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """What promtool says of these cases under these rules."""
    files = []
    for number, case in enumerate(cases):
        file = home / f"case-{number}.json"  # JSON is YAML
        file.write_text(json.dumps(promtool_file(case, str(rules), alerts())))
        files.append(str(file))
    return run("promtool", "test", "rules", *files)


def test_prometheus_accepts_configuration_and_alerts() -> None:
    """Prometheus takes the configuration and every rule in it, without a warning."""
    checked = run("promtool", "check", "config", "--lint-fatal", str(DEPLOYED / "prometheus.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_shipped_alerts_are_those_of_the_template() -> None:
    """The file that is shipped is what render.py makes of the template."""
    assert rendered() == SHIPPED.read_text(encoding="utf-8"), "run deploy/prometheus/render.py"


def test_all_durations_are_sixty_times_shorter_for_who_cannot_wait(tmp_path: Path) -> None:
    """With `--faster 60` Prometheus takes the rules, and each duration in them is a sixtieth."""
    fast = tmp_path / "fast.yml"
    fast.write_text(rendered("--faster", "60", "--runbooks", "https://wiki.example.org/ops/"))
    assert run("promtool", "check", "rules", str(fast)).returncode == 0
    assert "https://example.com" not in fast.read_text()
    template = (DEPLOYED / "alerts.template.yml").read_text(encoding="utf-8")
    fixed = re.sub(r"\$\{[^}]*\}", "", template)  # what stays as it is
    assert re.findall(r"\[\d\w*\]|for: \d\w*|interval: \d\w*|_seconds\S* [<>] \d+", fixed) == [
        "_seconds) > 5"  # of skew, which is no time to wait
    ]
    for rule in ("for: 1s", "interval: 1s", "[1m]", 'le="0.5"', "> 180", "keep_firing_for: 3s"):
        assert rule in fast.read_text(), rule


def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    """In each case those alerts fire that should, with their words; while all is well none does."""
    nothing = tuple(Silent(name, "5m 14m 55m") for name in alerts())
    tested = judged([*CASES, replace(WELL, checks=nothing)], SHIPPED, tmp_path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_has_a_case_of_firing_and_one_of_not() -> None:
    """No alert is without a case in which it fires, and another in which something is near it."""
    for kind in (Fires, Silent):
        tested = {check.alert for case in CASES for check in case.checks if isinstance(check, kind)}
        assert tested == alerts().keys(), kind


def test_an_alert_that_no_longer_fires_fails_its_case(tmp_path: Path) -> None:
    """For each alert there is a case that notices when it never fires."""
    mute = tmp_path / "mute.json"
    rules = [{**alert, "expr": "vector(0) > 1"} for alert in alerts().values()]
    mute.write_text(json.dumps({"groups": [{"name": "mute", "rules": rules}]}))
    tested = judged(CASES, mute, tmp_path)
    assert set(re.findall(r"alertname: (\w+)", tested.stdout + tested.stderr)) == alerts().keys()


def test_each_alert_says_how_urgent_it_is_and_what_to_do() -> None:
    """An alert has a severity, a summary, words on what to look at, and a page that says more."""
    for name, alert in alerts().items():
        assert alert["labels"]["severity"] in {"page", "ticket"}, name
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}, name
        assert alert["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{name}.md")


def test_everything_is_reckoned_by_environment_cluster_and_job() -> None:
    """No rule adds installations together: each aggregation names what tells them apart."""
    rules = [rule for group in rules_file()["groups"] for rule in group["rules"]]
    for rule in rules:
        for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
            assert labels.startswith("environment, cluster, job"), rule
        aggregated = re.findall(r"\b(?:sum|min|max|count|avg)\b(?! (?:by|without) )", rule["expr"])
        assert not aggregated, rule
