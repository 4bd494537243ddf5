"""A worker, with a clock that looks every other millisecond of CPU at what it is doing.

`python -m benchmarks.price.workers.sampled -m worker run`, or a file and its arguments. At its end
it writes how many looks fell upon each stage of the way, as JSON, into the file that `SAMPLES`
names. What runs in C is told for the Python code that has called it.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

_EVERY_SECONDS: Final = 0.002

# A stack is busy with the first of these that one of its frames bears a mark of.
STAGES: Final = {
    "logs and metrics": ("worker/adapters/metrics/", "worker/adapters/logs/", "structlog/"),
    "call": ("worker/adapters/aws/", "aiohttp/", "floor.py:_call"),
    "look-up": ("worker/runtime/token/intake.py:_look_up", "find_outcomes", "floor.py:_look_up"),
    "commit": ("worker/runtime/token/writer.py", "ledger/settlement.py", "floor.py:_upsert"),
    "publish and ack": (
        *("worker/adapters/rabbitmq/acking.py", "worker/runtime/token/acks.py"),
        *("worker/adapters/rabbitmq/publish", "floor.py:_publish"),
    ),
    "take in": ("worker/runtime/token/intake.py", "floor.py:receive"),
    "choose and decide": ("worker/runtime/token/pool.py", "worker/runtime/rate/"),
    "receive": ("worker/adapters/rabbitmq/", "aiormq/", "pamqp/"),
}
REST: Final = "event loop and sockets"


def stage_of(frame: FrameType | None) -> str:
    """What a stack is busy with."""
    names = []
    while frame is not None:
        names.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")
        frame = frame.f_back
    for stage, marks in STAGES.items():
        if any(mark in name for name in names for mark in marks):
            return stage
    return REST


def run(command: list[str]) -> None:
    """Run a module (`-m`) or a file, sampled."""
    looks: Counter[str] = Counter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # unless it has a handler of its own
    signal.signal(signal.SIGPROF, lambda _, frame: looks.update((stage_of(frame),)))
    signal.setitimer(signal.ITIMER_PROF, _EVERY_SECONDS, _EVERY_SECONDS)
    try:
        if command[0] == "-m":
            sys.argv = command[1:]
            runpy.run_module(command[1], run_name="__main__")
        else:
            sys.argv = command
            runpy.run_path(command[0], run_name="__main__")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(os.environ["SAMPLES"]).write_text(json.dumps(looks))


if __name__ == "__main__":
    run(sys.argv[1:])
