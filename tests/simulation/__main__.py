"""Prints the tables of docs/pacing.md; on fresh seeds, a hundred a scenario, it takes minutes."""

from __future__ import annotations

import argparse
import random
import sys
from typing import TYPE_CHECKING

from tests.simulation import judging, recorded, tables
from tests.simulation.edges import edges
from tests.simulation.scenarios import SCENARIOS, UNLUCKY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.simulation.bounds import Scenario
    from tests.simulation.judging import Plays
    from tests.simulation.recorded import Recorded


def main(words: Sequence[str] | None = None, file: Path = recorded.FILE) -> int:
    """Judge the law; 1 if it breaks a bound, or a recorded seed comes to worse than it did.

    Args:
        words: The command line.
        file: Where seeds are recorded.
    """
    arguments = _arguments(words)
    fresh = arguments.first is None
    first = random.SystemRandom().randrange(10_000, 1_000_000) if fresh else arguments.first
    seeds = range(first, first + (arguments.seeds or (4 if arguments.edges else 100)))
    every = SCENARIOS | UNLUCKY
    chosen = {n: s for n, s in every.items() if any(only in n for only in arguments.only or [""])}
    _say(f"seeds {first} to {seeds[-1]}\n")
    with judging.processes(arguments.processes) as plays:
        if arguments.edges:
            for line in edges(chosen, seeds, plays):
                _say(line)
            return 0
        known = [seed for seed in recorded.seeds(file) if seed.scenario in chosen]
        broken = _judge(chosen, seeds, plays, file if fresh else None)
        worse = _again(chosen, known, plays)
    if not arguments.only:
        sys.stdout.writelines(f"{line}\n" for line in tables.schemes())
    return 1 if broken or worse else 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many a scenario (100; 4 with --edges)")
    parser.add_argument("--first", type=int, help="the first seed; without it they are fresh ones")
    parser.add_argument(
        "--only",
        action="append",
        metavar="TEXT",
        help="scenarios whose name contains this; may be given more than once",
    )
    parser.add_argument("--processes", type=int, default=2, help="how many play at once (2)")
    parser.add_argument(
        "--edges",
        action="store_true",
        help="print instead what breaks with each constant of the law times 0.6 and 1.6",
    )
    return parser.parse_args(words)


def _judge(
    chosen: Mapping[str, Scenario], seeds: Sequence[int], plays: Plays, file: Path | None
) -> int:
    """How many bounds these seeds break; the worst of them are recorded where there is a file."""
    broken = added = 0
    _say(tables.JUDGED)
    for judgement in judging.judged(chosen, seeds, plays):
        _say(tables.line(judgement))
        if not judgement.kept:
            broken += 1
            if file and (found := recorded.outside(judgement)):
                recorded.record(found, file)
                added += len(found)
    _say(f"\nbounds broken: {broken}\n")
    if added:
        _say(f"recorded in {file}, which is to be committed: {added} seeds\n")
    return broken


def _again(chosen: Mapping[str, Scenario], known: Sequence[Recorded], plays: Plays) -> int:
    """How many recorded seeds come to worse now."""
    worse = 0
    _say(tables.RECORDED)
    for seed, now in zip(known, plays([(k.scenario, k.seed, {}) for k in known]), strict=True):
        bound = chosen[seed.scenario].bounds[seed.measure]
        _say(tables.recorded_line(seed, bound, now[seed.measure]))
        worse += seed.worse(bound, now[seed.measure])
    _say(f"\nrecorded seeds that come to worse than they did: {worse}\n")
    return worse


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
