"""This worker, with each call of its metrics and of the log for a token timed.

`python -m benchmarks.price.workers.timed -m worker run`. At its end it writes the seconds spent in
them into the file that `TIMED` names. A call that was interrupted for long by something else is
left out: it is the median call that is taken, times how many there were.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import statistics
import sys
import time
from collections import defaultdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.logs.output import Output
from worker.adapters.metrics import Metrics
from worker.runtime.token import answered

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMED: defaultdict[str, list[int]] = defaultdict(list)
_REPORTED: Final = [name for name, value in vars(Metrics).items() if callable(value)]


def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, timed."""
    times, clock = _TIMED[name], time.perf_counter_ns

    @wraps(call)
    def timing(*args: Any, **kwargs: Any) -> Any:
        began = clock()
        try:
            return call(*args, **kwargs)
        finally:
            times.append(clock() - began)

    return timing


class _Log:
    """The log of what was settled, timed."""

    def __init__(self, log: Any) -> None:
        # Looked up at each call as it is there, for the log is set up later.
        self.debug = timed("log.debug", lambda *told, **more: log.debug(*told, **more))  # noqa: PLW0108


def seconds() -> float:
    """What was spent in all of them, without what the timing itself takes."""
    timing = timed("nothing", lambda: None)
    for _ in range(10_000):
        timing()
    nothing = statistics.median(_TIMED.pop("nothing"))
    spent = (
        max(0, statistics.median(each) - nothing) * len(each) for each in _TIMED.values() if each
    )
    return sum(spent) / 1e9


def run(command: list[str]) -> None:
    """Run a module (`-m`), timed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # unless it has a handler of its own
    for name in _REPORTED:
        if name != "__init__":
            setattr(Metrics, name, timed(name, getattr(Metrics, name)))
    Output.own = timed("log", Output.own)  # type: ignore[method-assign]
    setattr(answered, "log", _Log(answered.log))  # noqa: B010 - it is final
    try:
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__")
    finally:
        Path(os.environ["TIMED"]).write_text(json.dumps(seconds()))


if __name__ == "__main__":
    run(sys.argv[1:])
