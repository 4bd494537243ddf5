"""A case of what Prometheus sees and which alerts fire, as input for `promtool test rules`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FLEET = {"environment": "production", "cluster": "eu", "job": "resolution-worker"}
"""Labels of each series and each alert, unless others are given."""


@dataclass(frozen=True, slots=True)
class Fires:
    """An alert that fires.

    Attributes:
        at: Time since the case's beginning.
        value: The value as its annotations write it.
        labels: Its labels besides those of the fleet; an empty one is none.
    """

    alert: str
    at: str
    value: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Silent:
    """An alert that does not fire, at any of these times, between which are spaces."""

    alert: str
    at: str


@dataclass(frozen=True, slots=True)
class Case:
    """What a Prometheus sees, and what it makes of it.

    Attributes:
        series: Values by series, in promtool's notation; each has the labels of the fleet, and
            instance `a`, unless it gives others.
        every: Time from one value to the next, and from one look at the rules to the next.
    """

    name: str
    series: Mapping[str, str]
    checks: tuple[Fires | Silent, ...]
    every: str = "15s"


def both(series: str, values: str) -> dict[str, str]:
    """The same values on two replicas."""
    return {with_labels(series, instance=replica): values for replica in ("a", "b")}


def with_labels(series: str, **more: str) -> str:
    """A series with its labels, those of the fleet and these."""
    name, _, rest = series.partition("{")
    given = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    labels = {**FLEET, "instance": "a", **more, **given}
    return name + "{" + ", ".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


def promtool_file(case: Case, rules: str, alerts: Mapping[str, Any]) -> dict[str, Any]:
    """What `promtool test rules` reads.

    Args:
        case: What is played.
        rules: Path of the rules.
        alerts: The rules of the alerts by name.
    """
    return {
        "rule_files": [rules],
        "evaluation_interval": case.every,
        "tests": [
            {
                "name": case.name,
                "interval": case.every,
                "input_series": [
                    {"series": with_labels(series), "values": values}
                    for series, values in case.series.items()
                ],
                "alert_rule_test": [
                    _expected(check, alerts[check.alert], at)
                    for check in case.checks
                    for at in check.at.split()
                ],
            }
        ],
    }


def _expected(check: Fires | Silent, rule: Any, at: str) -> dict[str, Any]:
    test = {"eval_time": at, "alertname": check.alert, "exp_alerts": []}
    if isinstance(check, Silent):
        return test
    labels = {**FLEET, **check.labels}
    words = {
        name: _filled_in(text, labels, check.value) for name, text in rule["annotations"].items()
    }
    own = {name: value for name, value in labels.items() if value}
    return {
        **test,
        "exp_alerts": [{"exp_labels": {**own, **rule["labels"]}, "exp_annotations": words}],
    }


def _filled_in(text: str, labels: Mapping[str, str], value: str) -> str:
    text = re.sub(r"{{ \$labels[.](\w+) }}", lambda match: labels[match[1]], text)
    return re.sub(r"{{ \$value[^}]*}}", value, text)
