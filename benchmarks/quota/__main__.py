"""`python -m benchmarks.quota`: the scenarios one after another, and the table of all figures."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

import benchmarks.quota
from benchmarks.ground import laid
from benchmarks.quota.credentials import credentials
from benchmarks.quota.death import death
from benchmarks.quota.figures import table
from benchmarks.quota.lanes import lanes
from benchmarks.quota.plainly import plainly
from benchmarks.quota.scenario import Bench
from benchmarks.quota.steady import changing, few, many
from worker.core.exceptions import NotConfirmed, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.quota.figures import Figure

_SCENARIOS: Final[dict[str, Callable[[Bench], Awaitable[tuple[list[Figure], list[str]]]]]] = {
    "1": many,
    "2": few,
    "3": changing,
    "4": death,
    "5": lanes,
    "6": credentials,
    "7": plainly,
}
_LONGEST_SECONDS: Final = 900.0
_INTERRUPTED: Final = 130
_BROKEN: Final = (AssertionError, OSError, TimeoutError, NotConfirmed, Unavailable)


async def main(options: argparse.Namespace) -> int:
    """Play the chosen scenarios and judge them."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _cancel, asyncio.current_task())
    figures: list[Figure] = []
    faults: list[str] = []
    try:
        async with laid() as field:
            bench = Bench(
                field.ground,
                options.seconds_scale,
                options.latency,
                options.low_burst,
                dict(one.split("=", 1) for one in options.setting),
            )
            for number in options.only:
                await _play(number, bench, figures, faults)
    finally:
        # Also of a run that was broken off: what was measured so far took its time.
        print(f"\n{table(figures)}")
        for fault in faults:
            print(f"FAULT {fault}")
    return int(bool(faults) or not all(figure.held for figure in figures))


def _cancel(task: asyncio.Task[int] | None) -> None:
    if task is not None:
        task.cancel()


async def _play(number: str, bench: Bench, figures: list[Figure], faults: list[str]) -> None:
    scenario = _SCENARIOS[number]
    print(f"{time.strftime('%H:%M:%S')} scenario {number}: {scenario.__doc__}", flush=True)
    try:
        async with asyncio.timeout(_LONGEST_SECONDS * max(1.0, bench.scale)):
            found, wrong = await scenario(bench)
        figures += found
        faults += [f"in scenario {number}, {one}" for one in wrong]
        print(f"{table(found)}\n", flush=True)
    except* _BROKEN as broken:
        faults.append(f"scenario {number} could not be played: {broken.exceptions}")


def _options() -> argparse.Namespace:
    listed = "; ".join(f"{number} {one.__doc__}" for number, one in _SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quota",
        description=(benchmarks.quota.__doc__ or "").partition("\n")[0],
        epilog=f"Scenarios: {listed}",
    )
    parser.add_argument(
        "--only", type=_chosen, default=list(_SCENARIOS), help="scenarios: 1,3 (default: all)"
    )
    parser.add_argument(
        "--seconds-scale", type=_scale, default=1.0, help="times all durations, for a quick trial"
    )
    parser.add_argument("--latency", default="50ms", help="of each call (default: 50ms)")
    parser.add_argument(
        "--low-burst", type=float, default=2.0, help="burst of the quota of 2/s (default: 2)"
    )
    parser.add_argument(
        "--setting",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of each worker, such as WORKER_RATE__CEILING=40; repeatable",
    )
    return parser.parse_args()


def _chosen(text: str) -> list[str]:
    numbers = text.split(",")
    for number in numbers:
        if number not in _SCENARIOS:
            raise argparse.ArgumentTypeError(f"{number!r} is none of {', '.join(_SCENARIOS)}")
    return numbers


def _scale(text: str) -> float:
    scale = float(text)
    if not 0 < scale <= 10:
        raise argparse.ArgumentTypeError("not above 0 and at most 10")
    return scale


def _setting(text: str) -> str:
    if not text.startswith("WORKER_") or "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form WORKER_...=...")
    return text


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(_options())))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(_INTERRUPTED)
