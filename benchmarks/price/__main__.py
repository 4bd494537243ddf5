"""`make bench`: CPU, memory and waits of this worker, beside others in the same run.

Saturated workers take turns, round by round, then one and two replicas of this worker. Then tokens
come at given rates: 10 and 400 a second, and shares of what this worker can answer. A run of this
worker and one of the floor are sampled, to say where their CPU goes. Last, this worker is started
some times more, and finds few and very many tokens waiting.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from benchmarks.price.backlog import with_waiting
from benchmarks.price.budget import budgets
from benchmarks.price.contenders import ALL, OURS, REPLYING
from benchmarks.price.ground import servers, simulator
from benchmarks.price.latency import capacity, waits
from benchmarks.price.report import Report
from benchmarks.price.saturated import costs, costs_of_replicas
from benchmarks.price.start import cold_starts
from benchmarks.price.telemetry import telling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.price.contenders import Contender

_RATES: Final = (10.0, 400.0)
_SHARES: Final = (0.25, 0.5, 0.9)


async def main(options: argparse.Namespace) -> None:
    """Measure, print, and write down."""
    report = Report()
    chosen = _measurable(options.only)
    async with servers():
        if options.rounds:
            report.costs = await costs(chosen, options.tokens, options.rounds)
            report.show_costs()
        await _wait(report, chosen, options)
        if OURS in chosen and options.rounds:
            await _ours(report, options)
    if options.output:
        report.write(options.output)


async def _ours(report: Report, options: argparse.Namespace) -> None:
    """What is measured of this worker alone."""
    report.replicas = await costs_of_replicas(options.tokens, options.rounds)
    report.show_replicas()
    report.budgets = await budgets(options.tokens)
    report.show_budgets()
    report.telling = await telling(options.tokens)
    report.show_telling()
    report.starts = await cold_starts(options.rounds)
    report.show_starts()
    async for found in with_waiting(options.waiting, options.rounds):
        report.add_waiting(found)


def _measurable(only: Sequence[str] | None) -> list[Contender]:
    """Those of these names, or all; says which are left out."""
    chosen = [each for each in ALL if not only or each.name in only]
    if absent := [each.name for each in chosen if not each.installed]:
        print(f"left out, since .venv-bench is not there: {', '.join(absent)}", file=sys.stderr)
    return [each for each in chosen if each.installed]


async def _wait(report: Report, chosen: Sequence[Contender], options: argparse.Namespace) -> None:
    with simulator("--latency", "50ms"):
        rates = options.rates
        if rates is None:
            report.capacity = await capacity(OURS, options.tokens)
            print(f"\nsubmissions answered a second at most: {report.capacity:.0f}", flush=True)
            rates = [*_RATES, *(round(share * report.capacity) for share in _SHARES)]
        for rate in filter(None, rates):
            for contender in REPLYING:
                if contender in chosen:
                    found = await waits(contender, rate, options.seconds)
                    report.add_waits(contender.name, found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.price", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--tokens", type=int, default=4000, help="a round and worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="at each rate")
    parser.add_argument(
        "--rates", type=float, nargs="*", help="a second; default: 10, 400 and shares of capacity"
    )
    parser.add_argument(
        "--waiting", type=int, nargs="*", default=(1000, 500_000), help="so many tokens at once"
    )
    parser.add_argument("--only", nargs="*", help="names of workers")
    parser.add_argument("--output", type=Path, help="folder for price.json and the plots")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(_options()))
