"""Where a token's CPU goes: microseconds by stage of its way."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.price.contenders import OURS
from benchmarks.price.ground import simulator
from benchmarks.price.saturated import cost
from benchmarks.price.workers.sampled import REST, STAGES

_SAMPLED: Final = replace(OURS, command=(sys.executable, "-m", "benchmarks.price.workers.sampled"))


async def budget(tokens: int) -> dict[str, float]:
    """Microseconds of CPU a token, by stage, in the order of the way; of one saturated run."""
    with tempfile.TemporaryDirectory(prefix="resolution-budget-") as folder:
        samples = Path(folder) / "samples.json"
        os.environ["SAMPLES"] = str(samples)
        with simulator():
            found = await cost(_SAMPLED, tokens)
        looks = json.loads(samples.read_text())
    total = sum(looks.values())
    return {
        stage: found.cpu_microseconds * looks.get(stage, 0) / total
        for stage in (*(stage for stage, _ in STAGES), REST)
    }
