"""What the client adds to the wait for an answer, beside asking by plain AMQP in the same run.

`make bench-client`. Tokens come at each rate, independently of the answers, to one worker and an
endpoint that takes 50 ms. Each way of asking has a process of its own, on asyncio's event loop, and
they take turns, round by round: figures are medians of the rounds, ratios medians of the ratios
within a round. Then a crowd of callers comes at once, for the memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.price.asking import WAYS, found
from benchmarks.price.contenders import OURS
from benchmarks.price.ground import running, servers, simulator
from benchmarks.price.latency import CONCURRENCY, Waits, arrivals, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_RATES: Final = (10.0, 400.0)
_COLUMNS: Final = ("p50", "p90", "p99", "max", "CPU us/call")


@dataclass(frozen=True, slots=True)
class Round:
    """What one round has shown of one way of asking.

    Attributes:
        cpu_microseconds: A call, of the process that asks.
    """

    waits: Waits
    cpu_microseconds: float

    def row(self) -> tuple[float, ...]:
        """The figures in the order of the columns."""
        waits = self.waits
        return waits.p50, waits.p90, waits.p99, waits.most, self.cpu_microseconds


async def main(options: argparse.Namespace) -> None:
    """Measure, print, and write down."""
    rounds: dict[str, dict[str, list[Round]]] = {}
    async with servers():
        with simulator("--latency", "50ms"), running(OURS, CONCURRENCY):
            print("milliseconds from a token to its answer, beyond the 50 of AWS's")
            print(" " * 18 + "".join(f"{column:>12}" for column in _COLUMNS))
            for rate in options.rates:
                name = f"{rate:g}/s"
                rounds[name] = await _rounds(rate, options.seconds, options.rounds)
                _show(name, rounds[name])
            memory = await _at_once(options.callers)
    if options.output:
        _write(options.output, rounds, memory)


async def _rounds(rate: float, seconds: float, rounds: int) -> dict[str, list[Round]]:
    offsets = arrivals(rate, seconds)
    taken: dict[str, list[Round]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            each = await found(way, offsets)
            waits = summary(rate, each.waits, len(offsets))
            taken[way].append(Round(waits, each.cpu_seconds / len(offsets) * 1e6))
    return taken


def _show(rate: str, rounds: dict[str, list[Round]]) -> None:
    for way, those in rounds.items():
        unanswered = sum(each.waits.unanswered for each in those)
        figures = _medians(each.row() for each in those)
        print(f"{rate:>8} {way:9}{_cells(figures, 1)}   {unanswered} unanswered")
    ratios = [
        [ours / theirs for ours, theirs in zip(client.row(), plain.row(), strict=True)]
        for client, plain in zip(rounds["client"], rounds["plain"], strict=True)
    ]
    print(f"{'':8} {'ratio':9}{_cells(_medians(ratios), 2)}", flush=True)


def _cells(values: Iterable[float], digits: int) -> str:
    return "".join(f"{value:12.{digits}f}" for value in values)


def _medians(rows: Iterable[Sequence[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


async def _at_once(callers: int) -> dict[str, dict[str, float]]:
    """What each way holds, in MiB, with so many callers who wait at once."""
    print(f"\n{callers:,} callers at once")
    memory = {}
    for way in WAYS:
        each = await found(way, [0.0] * callers)
        assert len(each.waits) == callers, "somebody got no answer"
        memory[way] = {"idle_mib": each.idle_mib, "grown_mib": each.grown_mib}
        print(
            f"{way:9} {each.idle_mib:6.1f} MiB before, {each.grown_mib:5.1f} more at most;", end=""
        )
        print(f" all were answered within {max(each.waits):.1f} s")
    return memory


def _write(
    folder: Path,
    rounds: dict[str, dict[str, list[Round]]],
    memory: dict[str, dict[str, float]],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rates = {
        rate: {way: [asdict(each) for each in those] for way, those in ways.items()}
        for rate, ways in rounds.items()
    }
    report = {"rates": rates, "memory": memory}
    (folder / "client.json").write_text(json.dumps(report, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.client", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rates", type=float, nargs="*", default=_RATES, help="a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="a round, rate and way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--callers", type=int, default=1000, help="at once, for the memory")
    parser.add_argument("--output", type=Path, help="folder for client.json")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(_options()))
