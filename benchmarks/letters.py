"""Database time of what on-call asks about 100,000 dead letters, over all combinations of filters.

`make bench-letters`, or `python -m benchmarks.letters --letters 100000`. Each statement of
`dead-letters groups` and of a page of `dead-letters list` runs on letters just written, of which
the planner knows nothing yet, and once more after VACUUM ANALYZE. Database time is the CPU that the
server process uses, none working beside it, and its waits for the disk; elapsed is what EXPLAIN
ANALYZE tells, planning included, to which other work on the machine adds. Prints the slowest, or
with --all each one; exits with 1 if one takes more database time than --bound.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.letter_queries import AS_ON_CALL, Timing, single_filters, statements, timing
from harness.many_letters import keep_many
from harness.schema import connected, prepare
from harness.servers import PostgresServer
from worker.core.dead_letters.filters import Selection
from worker.lab.servers import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.schema import Schema

_SHOWN: Final = 15
_FRESH: Final = "ALTER TABLE resolution.dead_letter SET (autovacuum_enabled = false)"


def selections(single: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Selection]]:
    """Every combination of the filters, none at all included."""
    for count in range(len(single) + 1):
        for names in itertools.combinations(single, count):
            selection = Selection()
            for name in names:
                selection = replace(selection, **single[name])
            yield " ".join(names) or "(no filter)", selection


async def measured(schema: Schema) -> list[Timing]:
    """All statements, slowest first."""
    async with connected(schema.superuser) as connection:
        await connection.execute(AS_ON_CALL)
        message_id = await connection.fetchval(
            "SELECT message_id FROM resolution.dead_letter ORDER BY id LIMIT 1"
        )
        found = [
            await timing(connection, statement)
            for name, selection in selections(single_filters(message_id))
            for statement in statements(name, selection)
        ]
    return sorted(found, reverse=True)


def tell(heading: str, found: Sequence[Timing], shown: int) -> None:
    """Print how long the slowest took."""
    middle = found[len(found) // 2].milliseconds
    print(f"\n{heading}: {len(found)} statements")
    print(f"  slowest {found[0].milliseconds:.1f} ms, median {middle:.1f} ms")
    for each in found[:shown]:
        elapsed = f"elapsed {each.elapsed_milliseconds:.1f} ms"
        print(f"  {each.milliseconds:8.1f} ms  {elapsed:>18}  {each.name}")


async def run(letters: int, shown: int) -> float:
    """Measure both ways; returns the slowest in milliseconds."""
    slowest = []
    with tempfile.TemporaryDirectory(prefix="resolution-letters-") as folder:
        async with postgres(Path(folder)) as running:
            with PostgresServer(running.dsn, running.log).database() as database:
                schema = await prepare(database)
                await schema.execute(_FRESH)
                async with connected(schema.superuser) as connection:
                    await keep_many(connection, letters)
                for heading, script in (
                    (f"{letters} letters, just written", "SELECT"),
                    ("after VACUUM ANALYZE", "VACUUM ANALYZE resolution.dead_letter"),
                ):
                    await schema.execute(script)
                    found = await measured(schema)
                    tell(heading, found, shown)
                    slowest.append(found[0].milliseconds)
    return max(slowest)


def main() -> int:
    """Measure, and say whether all took less than the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--letters", type=int, default=100_000)
    parser.add_argument("--bound", type=float, default=300.0, help="milliseconds")
    parser.add_argument("--all", action="store_true", help="print every statement")
    options = parser.parse_args()
    slowest = asyncio.run(run(options.letters, 10_000 if options.all else _SHOWN))
    verdict = "within" if slowest <= options.bound else "MORE THAN"
    print(f"\nslowest of all {slowest:.1f} ms: {verdict} the bound of {options.bound:g} ms")
    return 0 if slowest <= options.bound else 1


if __name__ == "__main__":
    sys.exit(main())
