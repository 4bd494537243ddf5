"""The closing account as tables for a person, and as JSON for a program."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TextIO

from rich.console import Console
from rich.table import Table

from worker.lab.demo.run import BUYERS_PER_SECOND
from worker.lab.demo.servers import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from worker.lab.demo.account import Line, Sum, Wait
    from worker.lab.demo.run import Result

_PLAIN_WIDTH: Final = 110
_MOST_MISMATCHES: Final = 20


def as_json(result: Result, seconds: float, seed: int) -> dict[str, Any]:
    """Everything in one object: `seconds` is how long the run took, `seed` where chance began."""
    return {
        "balances": result.balances,
        "run": result.run,
        "seed": seed,
        "seconds": round(seconds, 1),
        "servers": dict(result.where),
        "tokens": result.tokens,
        "outcomes": [asdict(line) for line in result.account.lines],
        "sums": [asdict(one) for one in result.account.sums],
        "mismatches": [asdict(one) for one in result.account.mismatches],
        "killed": None if result.killed is None else asdict(result.killed),
        "survivor_drained": result.drained,
        "left_in_queues": dict(result.left),
        "events": result.events,
        "calls": dict(result.calls),
        "wait_seconds": [asdict(wait) for wait in result.waits],
        "settled_per_second": round(result.throughput, 1),
    }


def print_report(result: Result, seconds: float, seed: int, stream: TextIO = sys.stdout) -> None:
    """Print the account, with how long the run took and where chance began."""
    account = result.account
    width = None if stream.isatty() else _PLAIN_WIDTH
    console = Console(file=stream, width=width, highlight=False, markup=False)
    for table in (_outcomes(account.lines), _sums(account.sums), _waits(result.waits)):
        console.print()
        console.print(table)
    for line in (*_facts(result, seconds, seed), *_verdict(result), *_further(result)):
        console.print(line, soft_wrap=True)


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]], words: int) -> Table:
    """A table; all columns but the first `words` and those without a heading are numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, heading in enumerate(headings):
        number = place >= words and heading
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return table


def _outcomes(lines: Sequence[Line]) -> Table:
    tokens, found = sum(line.tokens for line in lines), sum(line.found for line in lines)
    rows = [(line.kind, line.demand, line.tokens, line.found) for line in lines]
    rows.append(("all", "each exactly once", tokens, found))
    marked = [(*row, _mark(*row[2:])) for row in rows]
    return _table(("kind of token", "demanded", "tokens", "found", ""), marked, words=2)


def _sums(sums: Iterable[Sum]) -> Table:
    rows = [(one.what, one.expected, one.found, _mark(one.expected, one.found)) for one in sums]
    return _table(("counted", "expected", "found", ""), rows, words=1)


def _mark(expected: int, found: int) -> str:
    return "ok" if expected == found else "DIFFERS"


def _waits(waits: Iterable[Wait]) -> Table:
    headings = ("the buyer's wait", "messages", "p50", "p95", "p99", "longest")
    rows = []
    for wait in waits:
        seconds = [f"{value:.3f} s" for value in (wait.p50, wait.p95, wait.p99, wait.most)]
        rows.append((f"{wait.lane}: {_UNTIL[wait.until]}", wait.submissions, *seconds))
    return _table(headings, rows, words=1)


_UNTIL: Final = {
    "event": "received_at until the event was here",
    "settled_at": "received_at until settled_at",
}


def _facts(result: Result, seconds: float, seed: int) -> Iterator[str]:
    yield ""
    yield (
        "Live messages were received at up to "
        f"{BUYERS_PER_SECOND:.0f} a second, the backlog at once; waits include those that AWS"
        " keeps waiting and leave out those that were too old."
    )
    answered = ", ".join(f"{name} {count:,}" for name, count in result.calls.items())
    yield f"Calls to the simulator: {answered}."
    yield (
        f"{result.throughput:,.0f} messages a second in the middle nine tenths;"
        f" {result.events:,} events in all; {seconds:.1f} s from start to end; seed {seed}."
    )
    if result.killed is not None:
        yield (
            f"{result.killed.name} was killed with SIGKILL when {result.killed.settled:,} of"
            f" {result.killed.total:,} messages were settled; the other one finished."
        )


def _verdict(result: Result) -> Iterator[str]:
    yield ""
    if result.balances:
        yield "The account balances: every token once and as demanded, none lost, none doubled."
        return
    yield "THE ACCOUNT DOES NOT BALANCE."
    mismatches = result.account.mismatches
    for one in mismatches[:_MOST_MISMATCHES]:
        yield f"  {one.subject} ({one.kind}): expected {one.expected}, found {one.found}"
    if len(mismatches) > _MOST_MISMATCHES:
        yield f"  and {len(mismatches) - _MOST_MISMATCHES} more (--json lists all)"
    if result.killed is None:
        yield "  no worker was killed: not even half of the messages were settled"
    if not result.drained:
        yield "  the last worker did not end in order"
    for queue, messages in result.left.items():
        yield f"  {queue}: {messages} messages left"


_PRIVATE: Final = """
The private servers are gone. To look further, run `make services` in another terminal, paste the
lines it prints into this one, and then:

  resolution-worker migrate --stand-in && resolution-worker topology declare
  resolution-worker simulator --port 8085 &
  export AWS_ACCESS_KEY_ID=simulator AWS_SECRET_ACCESS_KEY=simulator
  export WORKER_AWS__ENDPOINT_URL=http://127.0.0.1:8085
  export $(resolution-worker keygen | grep SEAL_KEY)
  resolution-worker run &
  echo ok-$RANDOM | resolution-worker publish"""

_NAMED: Final = """
The rows of this run stay in {database}; their message ids begin with {run}. To look at them:
"""

_QUERY: Final = """\
  psql "$WORKER_POSTGRES__DSN" -c 'SELECT status, error_code, count(*) FROM resolution.outcomes\
 GROUP BY 1, 2'"""


def _further(result: Result) -> Iterator[str]:
    database = result.where["database"]
    private = database == PRIVATE
    yield _PRIVATE if private else _NAMED.format(database=database, run=result.run)
    yield _QUERY
