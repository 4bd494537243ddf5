"""What on-call asks about dead letters, and how long the database works for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from harness.many_letters import KINDS
from worker.adapters.postgres.dead_letters.filters import select
from worker.adapters.postgres.sql import load_sql
from worker.core.dead_letters import grouping
from worker.core.dead_letters.filters import LetterState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.core.dead_letters.filters import Selection

_PAGE: Final = 50
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


def statements(name: str, selection: Selection) -> Iterator[Statement]:
    """The statements of `groups` and of a page of `list` for a selection."""
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
    plan = await connection.fetchval(_EXPLAIN + statement.sql, *statement.arguments, timeout=60)
    used = cpu_milliseconds(process) - before
    (found,) = orjson.loads(plan)
    waits = (found["Plan"].get(f"{kind} I/O Read Time", 0) for kind in ("Shared", "Temp"))
    elapsed = found["Planning Time"] + found["Execution Time"]
    return Timing(used + sum(waits), elapsed, statement.name)


def cpu_milliseconds(process: int) -> float:
    """Time that a process of this machine has run, as the scheduler counts it."""
    return int(Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[0]) / 1e6
