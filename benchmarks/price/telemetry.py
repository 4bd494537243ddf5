"""What a token costs in metrics and logs, beside all that it costs."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.price.contenders import OURS
from benchmarks.price.ground import simulator
from benchmarks.price.saturated import cost

_TIMED: Final = (sys.executable, "-m", "benchmarks.price.workers.timed")


@dataclass(frozen=True, slots=True)
class Telling:
    """Microseconds of CPU a token.

    Attributes:
        telling: In metrics and logs, timed call by call.
        all: Of everything, of a run in which nothing was timed.
    """

    telling: float
    all: float

    @property
    def share(self) -> float:
        """What metrics and logs take of all."""
        return self.telling / self.all


async def telling(tokens: int) -> Telling:
    """Measure both in turn; saturated."""
    with tempfile.TemporaryDirectory(prefix="resolution-telling-") as folder, simulator():
        spent = await cost(OURS, tokens)
        timed = Path(folder) / "timed.json"
        os.environ["TIMED"] = str(timed)
        await cost(replace(OURS, command=_TIMED + OURS.command[1:]), tokens)
        seconds: float = json.loads(timed.read_text())
    return Telling(seconds / tokens * 1e6, spent.cpu_microseconds)
