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

    from worker.lab.demo.account import Wait
    from worker.lab.demo.run import Result

_PLAIN_WIDTH: Final = 110
_MOST_MISMATCHES: Final = 20


def as_json(result: Result, seconds: float, seed: int) -> dict[str, Any]:
    """Everything in one object.

    Args:
        result: What the run has found.
        seconds: How long all of it took.
        seed: What chance started from.
    """
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
    """Print the account.

    Args:
        result: What the run has found.
        seconds: How long all of it took.
        seed: What chance started from.
        stream: Where to.
    """
    width = None if stream.isatty() else _PLAIN_WIDTH
    console = Console(file=stream, width=width, highlight=False, markup=False)
    for table in (_outcomes(result), _sums(result), _waits(result.waits)):
        console.print()
        console.print(table)
    for line in (*_facts(result, seconds, seed), *_verdict(result), *_further(result)):
        console.print(line, soft_wrap=True)


def _table(*headings: str, numbers: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    right = frozenset(numbers)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    return table


def _outcomes(result: Result) -> Table:
    table = _table("kind of token", "demanded", "tokens", "found", "", numbers=("tokens", "found"))
    lines = result.account.lines
    for line in lines:
        counts = (f"{line.tokens:,}", f"{line.found:,}")
        table.add_row(line.kind, line.demand, *counts, _mark(line.tokens, line.found))
    tokens, found = sum(line.tokens for line in lines), sum(line.found for line in lines)
    table.add_row("all", "each exactly once", f"{tokens:,}", f"{found:,}", _mark(tokens, found))
    return table


def _sums(result: Result) -> Table:
    table = _table("counted", "expected", "found", " ", numbers=("expected", "found"))
    for one in result.account.sums:
        counts = (f"{one.expected:,}", f"{one.found:,}")
        table.add_row(one.what, *counts, _mark(one.expected, one.found))
    return table


def _mark(expected: int, found: int) -> str:
    return "ok" if expected == found else "DIFFERS"


def _waits(waits: Sequence[Wait]) -> Table:
    numbers = ("messages", "p50", "p95", "p99", "longest")
    table = _table("the buyer's wait", *numbers, numbers=numbers)
    for wait in waits:
        seconds = (f"{value:.3f} s" for value in (wait.p50, wait.p95, wait.p99, wait.most))
        table.add_row(f"{wait.lane}: {_UNTIL[wait.until]}", f"{wait.submissions:,}", *seconds)
    return table


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
  export WORKER_AWS__ENDPOINT_URL=http://127.0.0.1:8085 $(resolution-worker keygen)
  resolution-worker run &
  echo ok-$RANDOM | resolution-worker publish
"""

_LOOK: Final = """\
  psql "$WORKER_POSTGRES__DSN" -c 'SELECT status, error_code, count(*) FROM resolution.outcomes\
 GROUP BY 1, 2'
  resolution-worker topology show
  curl -s http://127.0.0.1:9108/metrics | grep ^resolution_
  curl -s http://127.0.0.1:8085/_simulator/stats"""


def _further(result: Result) -> Iterator[str]:
    if result.where["database"] == PRIVATE:
        yield from _PRIVATE.splitlines()
        yield from _LOOK.splitlines()
        return
    yield ""
    yield (
        f"The rows of this run stay in {result.where['database']}; their message ids begin with"
        f" {result.run}. To look at them:"
    )
    yield ""
    yield _LOOK.splitlines()[0]
