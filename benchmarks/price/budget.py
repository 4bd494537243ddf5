"""Where a token's CPU goes, here and in the floor of the same job: microseconds by stage."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.price.contenders import FLOOR, OURS
from benchmarks.price.ground import simulator
from benchmarks.price.saturated import cost
from benchmarks.price.workers.sampled import REST, STAGES

_SAMPLED: Final = (sys.executable, "-m", "benchmarks.price.workers.sampled")


async def budgets(tokens: int) -> dict[str, dict[str, float]]:
    """Microseconds of CPU a token by stage, in the order of the way, by name; saturated."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="resolution-budget-") as folder, simulator():
        for each in (OURS, FLOOR):
            samples = Path(folder) / "samples.json"
            os.environ["SAMPLES"] = str(samples)
            spent = await cost(replace(each, command=_SAMPLED + each.command[1:]), tokens)
            looks = json.loads(samples.read_text())
            total = sum(looks.values())
            found[each.name] = {
                stage: spent.cpu_microseconds * looks.get(stage, 0) / total
                for stage in (*STAGES, REST)
            }
    return found
