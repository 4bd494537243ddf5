"""Prints the tables of docs/pacing.md; on fresh seeds, a hundred a scenario, it takes minutes."""

from __future__ import annotations

import argparse
import random
import sys

from tests.simulation import tables
from tests.simulation.scenarios import SCENARIOS, UNLUCKY


def main() -> int:
    """Judge the law; 1 if it breaks a bound."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds a scenario (100)")
    parser.add_argument("--first", type=int, help="the first seed; without it they are fresh ones")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    arguments = parser.parse_args()
    first = arguments.first
    if first is None:
        first = random.SystemRandom().randrange(10_000, 1_000_000)
    seeds = range(first, first + arguments.seeds)
    sys.stdout.write(f"seeds {first} to {seeds[-1]}\n\n")
    chosen = {n: s for n, s in (SCENARIOS | UNLUCKY).items() if arguments.only in n}
    broken = 0
    for line, kept in tables.judged(chosen, seeds):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        broken += not kept
    sys.stdout.write(f"\nbounds broken: {broken}\n\n")
    if not arguments.only:
        sys.stdout.writelines(f"{line}\n" for line in tables.schemes())
    return 1 if broken else 0


sys.exit(main())
