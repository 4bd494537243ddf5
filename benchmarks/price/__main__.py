"""`make bench`: CPU, memory and waits of this worker, beside others in the same run."""

from __future__ import annotations

import argparse
import statistics
from typing import TYPE_CHECKING, Final

import uvloop

from benchmarks.price.contenders import ALL, OURS, PLAIN_UVLOOP
from benchmarks.price.ground import servers, simulator
from benchmarks.price.latency import waits
from benchmarks.price.saturated import costs

if TYPE_CHECKING:
    from benchmarks.price.latency import Waits
    from benchmarks.price.saturated import Cost

_RATES: Final = (10.0, 400.0)
_SHARES: Final = (0.25, 0.5, 0.9)


async def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    async with servers():
        contenders = [each for each in ALL if not options.only or each.name in options.only]
        capacity = options.capacity
        if options.rounds:
            found = await costs(contenders, options.tokens, options.rounds)
            show_costs(found)
            capacity = capacity or statistics.median(
                each.tokens_per_second for each in found[OURS.name]
            )
        rates = (
            options.rates
            if options.rates is not None
            else [10.0, 400.0, *(round(share * capacity) for share in _SHARES)]
        )
        with simulator("--latency", "50ms"):
            for rate in rates:
                for contender in (OURS, PLAIN_UVLOOP):
                    if contender in contenders:
                        show_waits(contender.name, await waits(contender, rate, options.seconds))


def show_costs(found: dict[str, list[Cost]]) -> None:
    """Print a table of medians, and of ratios within the rounds."""
    ours = found.get(OURS.name)
    print(f"{'worker':24}{'CPU us/token':>14}{'tokens/s':>10}{'MiB':>8}{'ratio to ours':>16}")
    for name, rounds in found.items():
        cpu = statistics.median(cost.cpu_microseconds for cost in rounds)
        rate = statistics.median(cost.tokens_per_second for cost in rounds)
        peak = max(cost.peak_mib for cost in rounds)
        ratio = statistics.median(
            theirs.cpu_microseconds / mine.cpu_microseconds
            for theirs, mine in zip(rounds, ours or rounds, strict=True)
        )
        print(f"{name:24}{cpu:14.0f}{rate:10.0f}{peak:8.0f}{ratio:16.2f}", flush=True)


def show_waits(name: str, found: Waits) -> None:
    """Print one line."""
    print(
        f"{name:24}{found.rate:8.0f}/s  p50 {found.p50:7.1f}  p90 {found.p90:7.1f}  "
        f"p99 {found.p99:7.1f}  max {found.most:7.1f} ms   {found.answered} answered, "
        f"{found.unanswered} not",
        flush=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.price", description=__doc__)
    parser.add_argument("--tokens", type=int, default=4000, help="a round and worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="at each rate")
    parser.add_argument("--capacity", type=float, default=0.0, help="tokens a second, if known")
    parser.add_argument("--rates", type=float, nargs="*", help="instead of shares of the capacity")
    parser.add_argument("--only", nargs="*", help="names of workers")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(_options()))
