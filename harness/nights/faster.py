"""Configurations of the deployment in which every duration is a fraction of what it was."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

DEPLOYED: Final = Path(__file__).parents[2] / "deploy"
_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(r"(\d+)(ms|[smhdw])")
_WHOLE: Final = re.compile(rf"(?:{_DURATION.pattern})+")


def yaml(name: str) -> Any:
    """A YAML file of `deploy`."""
    return YAML(typ="safe").load(DEPLOYED / name)


def shorter(duration: str, factor: int) -> str:
    """A duration of Prometheus's, divided, in milliseconds."""
    total = sum(int(count) * _UNITS[unit] for count, unit in _DURATION.findall(duration))
    return f"{max(1, total // factor)}ms"


def faster(value: Any, factor: int) -> Any:
    """A configuration whose durations are all shorter."""
    if isinstance(value, dict):
        return {key: faster(each, factor) for key, each in value.items()}
    if isinstance(value, list):
        return [faster(each, factor) for each in value]
    return shorter(value, factor) if isinstance(value, str) and _WHOLE.fullmatch(value) else value


def rules(factor: int) -> str:
    """The alerts, rendered with shorter durations."""
    done = subprocess.run(
        [sys.executable, DEPLOYED / "prometheus" / "render.py", "--faster", str(factor)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout
