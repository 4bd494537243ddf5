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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from harness.many_letters import KINDS, keep_many
from harness.schema import connected, prepare
from harness.servers import PostgresServer
from worker.adapters.postgres.dead_letters.filters import select
from worker.adapters.postgres.sql import load_sql
from worker.core.dead_letters import grouping
from worker.core.dead_letters.filters import LetterState, Selection
from worker.lab.servers import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.schema import Schema

_PAGE: Final = 50
_SHOWN: Final = 15
_FRESH: Final = "ALTER TABLE resolution.dead_letter SET (autovacuum_enabled = false)"
AS_ON_CALL: Final = """
SET track_io_timing = on;
SET max_parallel_workers_per_gather = 0;
SET ROLE resolution_operator
"""
_EXPLAIN: Final = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) "


class Statement(NamedTuple):
    """One statement with its values, and what it asks."""

    name: str
    sql: str
    arguments: tuple[object, ...]


class Timing(NamedTuple):
    """How long the server worked or waited for the disk, and how long it took in all."""

    milliseconds: float
    elapsed_milliseconds: float
    name: str


def single_filters(message_id: str) -> dict[str, Mapping[str, Any]]:
    """Each filter once, by its option."""
    now = datetime.now(UTC)
    rare = KINDS[-1]
    return {
        "--reason": {"reasons": (rare.reason, "parked")},
        "--error": {"errors": (rare.error_code, "Timeout")},
        "--since": {"since": now - timedelta(hours=4)},
        "--until": {"until": now - timedelta(hours=1)},
        "--seller": {"sellers": ("second",)},
        "--redeemable": {"redeemable": True},
        "--state": {"states": tuple(LetterState)},
        "--message-id": {"message_ids": (message_id,)},
        "--group": {"groups": (grouping.key(*rare[:3]), grouping.key(*KINDS[1][:3]))},
    }


def selections(single: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Selection]]:
    """Every combination of the filters, none at all included."""
    for count in range(len(single) + 1):
        for names in itertools.combinations(single, count):
            selection = Selection()
            for name in names:
                selection = replace(selection, **single[name])
            yield " ".join(names) or "(no filter)", selection


def asked(name: str, selection: Selection) -> Iterator[Statement]:
    """What `groups` and a page of `list` ask for a selection."""
    chosen = select(selection, taken=1)
    sql = load_sql("dead_letters/letter_groups").format(chosen=chosen.sql)
    yield Statement(f"groups {name}", sql, (20, *chosen.arguments))
    chosen = select(selection, taken=3)
    sql = load_sql("dead_letters/letter_page").format(chosen=chosen.sql)
    yield Statement(f"list {name}", sql, (datetime.now(UTC), 2**62, _PAGE + 1, *chosen.arguments))


async def timing(connection: Any, statement: Statement) -> Timing:
    """How long the server takes for a statement."""
    process = connection.get_server_pid()
    before = cpu_milliseconds(process)
    told = await connection.fetchval(_EXPLAIN + statement.sql, *statement.arguments, timeout=60)
    used = cpu_milliseconds(process) - before
    (found,) = orjson.loads(told)
    waits = (found["Plan"].get(f"{kind} I/O Read Time", 0) for kind in ("Shared", "Temp"))
    elapsed = found["Planning Time"] + found["Execution Time"]
    return Timing(used + sum(waits), elapsed, statement.name)


def cpu_milliseconds(process: int) -> float:
    """Time that a process of this machine has run, as the scheduler counts it."""
    return int(Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[0]) / 1e6


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
            for statement in asked(name, selection)
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
